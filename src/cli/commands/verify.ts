// `switchyard verify`: a model against a recording of another implementation, or a folder's integrity.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { Check } from '../../models/index.ts'
import { green, red, table } from '../terminal.ts'

interface Flags {
  reference?: string
  train?: boolean
  tolerance?: string
  json?: boolean
}

const help = `
The reference is a safetensors file with 'input_ids' and 'logits', and perhaps
greedy 'generated' ids (the first 9 are the prompt). With --train it is a
recorded run: 'batches', 'loss', 'aux_loss', 'grad_norm' of every step and
'grad.NAME' of the first (AdamW 1e-3, betas 0.9/0.95, decay 0.1 on everything,
gradient norm clipped to 1, the balance loss of HF's Mixtral).
Without --reference, names, shapes and checksums of the folder are checked.
Exit code 1 when something differs.

Examples:
  switchyard verify model --reference reference.safetensors
  switchyard verify model --reference run.safetensors --train --tolerance 1e-5
  switchyard verify runs/tiny-moe`

export function verifyCommand(): Command {
  return new Command('verify')
    .description('compare a model with recorded logits, tokens or a training run')
    .argument('<model>', 'model folder or run folder')
    .option('--reference <file>', 'recorded tensors')
    .option('--train', 'replay a recorded training run')
    .option(
      '--tolerance <number>',
      'allowed difference: absolute for logits (default 1e-4), relative for --train (1e-5)',
    )
    .option('--json', 'print JSON')
    .addHelpText('after', help)
    .action(verify)
}

async function verify(path: string, flags: Flags): Promise<void> {
  const { resolveModelFolder } = await import('../../train/index.ts')
  const folder = resolveModelFolder(path)
  if (flags.reference === undefined) {
    if (flags.train) throw new ConfigError('needs --reference FILE, the recorded run', { path: '--train' })
    return checkIntegrity(folder, flags)
  }
  const checks = await compareWith(folder, flags.reference, flags)
  process.stdout.write(`${flags.json ? JSON.stringify(checks, null, 2) : format(checks)}\n`)
  if (!checks.every(check => check.ok)) process.exitCode = 1
}

async function compareWith(folder: string, reference: string, { train, tolerance }: Flags): Promise<Check[]> {
  const { verifyModel } = await import('../../models/index.ts')
  const { replayTraining } = await import('../../train/index.ts')
  const allowed = tolerance === undefined ? (train ? 1e-5 : 1e-4) : Number(tolerance)
  if (!(allowed >= 0))
    throw new ConfigError(`'${tolerance}' is not a number of at least 0`, { path: '--tolerance' })
  return train ? replayTraining(folder, reference, allowed) : verifyModel(folder, reference, allowed)
}

async function checkIntegrity(folder: string, flags: Flags): Promise<void> {
  const { matchTensors, readModelConfig, refuseNonFinite } = await import('../../models/index.ts')
  const { verifyChecksums } = await import('../../train/index.ts')
  const pieces = matchTensors(folder, readModelConfig(folder))
  const hasChecksums = existsSync(join(folder, 'checksums.json'))
  if (hasChecksums) await verifyChecksums(folder)
  refuseNonFinite(pieces)
  const summary = { folder, tensors: pieces.length, checksums: hasChecksums }
  const sums = hasChecksums ? 'checksums match' : 'no checksums to compare'
  const text = `${green('ok')} ${folder}: ${pieces.length} tensors fit config.json, every value is finite, ${sums}`
  process.stdout.write(`${flags.json ? JSON.stringify(summary) : text}\n`)
}

function format(checks: readonly Check[]): string {
  const rows = checks.map(({ name, absolute, relative, ok }) => [
    ok ? green('ok') : red('differs'),
    name,
    absolute.toExponential(1),
    relative.toExponential(1),
  ])
  return table([['', 'tensor', 'largest difference', 'relative'], ...rows])
}

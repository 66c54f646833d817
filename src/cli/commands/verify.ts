// `switchyard verify`: a model against a recording of another implementation, or a folder's integrity.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { Check, OpenedModel } from '../../models/index.ts'
import { openNamed } from '../open-model.ts'
import { type PlacementFlags, placementOf, withPlacementOptions } from '../placement-options.ts'
import { green, red, table } from '../terminal.ts'
import { numberOf } from '../values.ts'

interface Flags extends Partial<PlacementFlags> {
  reference?: string
  train?: boolean
  tolerance?: number
  json?: boolean
  quiet?: boolean
}

const help = `
The reference is a safetensors file with 'input_ids' and 'logits', and perhaps
greedy 'generated' ids (the first 9 are the prompt); for an encoder-decoder also
'decoder_input_ids', and 'generated' answers the first row. With --train it is a
recorded run: 'batches', 'loss', 'aux_loss', 'grad_norm' of every step and
'grad.NAME' of the first (AdamW 1e-3, betas 0.9/0.95, decay 0.1 on everything,
gradient norm clipped to 1, the losses of HF's model); of an encoder-decoder
'sources' and 'labels' in place of 'batches', and 'z_loss'.
Without --reference, names, shapes and checksums of the folder are checked.
Exit code 1 when something differs.

Examples:
  switchyard verify model --reference reference.safetensors
  switchyard verify model --reference run.safetensors --train --tolerance 1e-5
  switchyard verify runs/tiny-moe`

export function verifyCommand(): Command {
  const command = new Command('verify')
    .description('check a model folder, or compare it with recorded logits, tokens or training')
    .argument('<model>', 'model folder or run folder')
    .option('--reference <file>', 'recorded tensors')
    .option('--train', 'replay a recorded training run')
    .option(
      '--tolerance <number>',
      'allowed difference: absolute for logits (default: 1e-4), relative for --train (1e-5)',
      numberOf('--tolerance', { above: 0 }),
    )
  return withPlacementOptions(command, 'decoded')
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but what differs')
    .addHelpText('after', help)
    .action(verify)
}

async function verify(path: string, flags: Flags): Promise<void> {
  const opened = await openNamed(path, flags)
  const { reference } = flags
  if (reference === undefined) {
    for (const flag of ['train', 'tolerance', 'dtype', 'weights'] as const)
      if (flags[flag] !== undefined)
        refuse(`--${flag}`, 'needs --reference FILE, the recording to compare with')
    return checkIntegrity(opened, flags)
  }
  for (const flag of ['dtype', 'weights'] as const)
    if (flags.train && flags[flag] !== undefined)
      refuse(`--${flag}`, 'is for --reference alone: a training run is replayed in f32')
  if (!existsSync(reference)) refuse('--reference', `${reference}: no such file`)
  const checks = await compareWith(opened.path, reference, flags)
  if (flags.json) process.stdout.write(`${JSON.stringify(checks, null, 2)}\n`)
  else if (!flags.quiet || checks.some(check => !check.ok)) process.stdout.write(`${format(checks)}\n`)
  if (!checks.every(check => check.ok)) process.exitCode = 1
}

function refuse(path: string, problem: string): never {
  throw new ConfigError(problem, { path })
}

async function compareWith(
  folder: string,
  reference: string,
  { train, tolerance, ...placement }: Flags,
): Promise<Check[]> {
  const { verifyModel } = await import('../../models/index.ts')
  const allowed = tolerance ?? (train ? 1e-5 : 1e-4)
  if (!train)
    return verifyModel(folder, reference, allowed, placementOf({ device: 'cpu', ...placement }, 'decoded'))
  const { replayTraining } = await import('../../train/index.ts')
  return replayTraining(folder, reference, allowed)
}

async function checkIntegrity({ path: folder, source }: OpenedModel, flags: Flags): Promise<void> {
  const { matchTensors, refuseNonFinite } = await import('../../models/index.ts')
  const { verifyChecksums } = await import('../../train/index.ts')
  const pieces = matchTensors(source)
  const hasChecksums = existsSync(join(folder, 'checksums.json'))
  if (hasChecksums) await verifyChecksums(folder)
  refuseNonFinite(pieces)
  const summary = { folder, tensors: pieces.length, checksums: hasChecksums }
  const sums = hasChecksums ? 'checksums match' : 'no checksums to compare'
  const text = `${green('ok')} ${folder}: ${pieces.length} tensors fit config.json, every value is finite, ${sums}`
  if (flags.json) process.stdout.write(`${JSON.stringify(summary)}\n`)
  else if (!flags.quiet) process.stdout.write(`${text}\n`)
}

function format(checks: readonly Check[]): string {
  const rows = checks.map(({ name, absolute, relative, ok, problem }) => [
    ok ? green('ok') : red('differs'),
    name,
    ...(problem ? ['', '', problem] : [absolute.toExponential(1), relative.toExponential(1)]),
  ])
  return table([['', 'tensor', 'largest difference', 'relative', ''], ...rows])
}

// `switchyard routing`: what routers decide, recorded.

import { existsSync } from 'node:fs'
import { Command, Option } from 'commander'
import type { TraceHeader } from '../../engine/index.ts'
import { ConfigError } from '../../errors.ts'
import { withWindowOptions } from '../corpus-windows.ts'
import { openNamed } from '../open-model.ts'
import { type PlacementFlags, placementOf, withPlacementOptions } from '../placement-options.ts'
import { Progress } from '../progress.ts'
import { chooseBatches, readBatches, type TextFlags, textSequences } from '../sequences.ts'
import { count, green, shortBytes } from '../terminal.ts'

interface Flags extends PlacementFlags, TextFlags {
  out: string
  json?: boolean
  quiet?: boolean
}

const help = `
A recording holds, of every token and layer, the experts and how much they
count. Text longer than a window is recorded window by window.

Examples:
  switchyard routing trace runs/tiny-moe --data data/corpus --out tiny.trace
  switchyard routing trace model --text book.txt --out book.trace
  switchyard simulate-cache tiny.trace`

export function routingCommand(): Command {
  return new Command('routing').description('record what routers decide').addCommand(traceCommand())
}

function traceCommand(): Command {
  const command = new Command('trace')
    .description('record which experts every token chooses, to try caches on')
    .argument('<model>', 'model folder, run folder, .gguf file or downloaded org/name')
    .requiredOption('--out <file>', 'the recording')
    .addOption(
      new Option('--data <dir>', "text of a corpus made by 'switchyard data prepare'").conflicts('text'),
    )
    .option('--text <file>', 'text of a file')
  return withPlacementOptions(withWindowOptions(command))
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but errors')
    .addHelpText('after', help)
    .action(trace)
}

async function trace(path: string, flags: Flags): Promise<void> {
  const placement = placementOf(flags)
  const { isTrace, recordRouting } = await import('../../engine/index.ts')
  const opened = await openNamed(path, flags)
  refuseOverwriting(flags.out, isTrace)
  const sequences = await textSequences(opened, flags)
  const model = opened.load({ kind: 'decoder', ...placement })
  const batches = await chooseBatches(sequences, flags)
  const progress = new Progress({ quiet: flags.quiet === true })
  const header = await recordRouting(model, readBatches(sequences, batches), {
    file: flags.out,
    name: path,
    onBatch: done => progress.update(done / batches.length, 'recording'),
  })
  progress.clear()
  if (flags.json) process.stdout.write(`${JSON.stringify({ file: flags.out, ...header }, null, 2)}\n`)
  else if (!flags.quiet) process.stdout.write(`${green('ok')} ${flags.out}: ${describe(header)}\n`)
}

/** The result of a slip, as `--out book.txt`, would be gone. */
function refuseOverwriting(out: string, isTrace: (file: string) => boolean): void {
  if (!existsSync(out) || isTrace(out)) return
  throw new ConfigError(`${out} is there, and is no recording: remove it, or name another file`, {
    path: '--out',
  })
}

function describe({ tokens, texts, moeLayers, experts, topK, expertBytes }: TraceHeader): string {
  const size = expertBytes === null ? '' : ` of ${shortBytes(expertBytes)}`
  const model = `${moeLayers.length} layers of ${experts} experts${size}, ${topK} chosen`
  return `${count(tokens)} tokens of ${count(texts)} texts; ${model}`
}

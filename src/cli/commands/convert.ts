// `switchyard convert`: a model in another format, dtype, layout or number of files.

import { basename, extname, resolve } from 'node:path'
import { Command, Option } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { ModelSource, OpenedModel, WriteFolderOptions } from '../../models/index.ts'
import { openNamed } from '../open-model.ts'
import { refuseFile, refuseFolderOfWeights } from '../outputs.ts'
import { Progress } from '../progress.ts'
import { count, green, shortBytes } from '../terminal.ts'
import { sizeOf } from '../values.ts'

interface Flags {
  out: string
  type?: string
  dtype?: WriteFolderOptions['dtype']
  experts?: WriteFolderOptions['experts']
  shardSize?: number
  tokenizer: boolean
  name?: string
  json?: boolean
  quiet?: boolean
}

const help = `
MODEL is a model folder, a run folder or a .gguf file, the first of a split one.
An --out that ends in .gguf is written as GGUF, any other as a model folder.

--type is for GGUF: a type for all tensors, or ROLE=TYPE for some, or both.
Types: f32, f16, bf16, q8_0, q4_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl,
iq4_xs, mxfp4.
Roles: embedding, attention, router, experts, shared, dense, head. The router
stays f32 unless it is named, and vectors always do. Rows that are no whole
blocks become q8_0 or f16. Each number goes to the nearest level; 'switchyard
quantize' rounds by what text shows to count.

Examples:
  switchyard convert Mixtral-8x7B --out mixtral.gguf --type f16,experts=q4_k
  switchyard convert olmoe.gguf --out olmoe --dtype bf16
  switchyard convert model --out sharded --shard-size 2GB`

export function convertCommand(): Command {
  return new Command('convert')
    .description('write a model in another format, dtype or layout')
    .argument('<model>', 'model folder, run folder or .gguf file')
    .requiredOption('--out <path>', 'a .gguf file, or a folder')
    .option('--type <rules>', 'types of a GGUF file (default: f16, the router f32)')
    .addOption(
      new Option('--dtype <name>', 'of a folder (default: as stored; quantized tensors bf16)').choices([
        'f32',
        'bf16',
        'f16',
      ]),
    )
    .addOption(
      new Option('--experts <layout>', 'of a folder: one by one as published (default), or stacked').choices([
        'published',
        'stacked',
      ]),
    )
    .option(
      '--shard-size <size>',
      'most bytes of one file of a folder (default: 5GB)',
      sizeOf('--shard-size'),
    )
    .option('--no-tokenizer', 'leave the tokenizer out')
    .option('--name <name>', "the model's name in a GGUF file (default: of the folder)")
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but errors')
    .addHelpText('after', help)
    .action(convert)
}

async function convert(path: string, flags: Flags): Promise<void> {
  const opened = await openNamed(path, flags)
  const { path: model } = opened
  refuseOverwriting(model, flags.out)
  const toGguf = extname(flags.out) === '.gguf'
  refuseOtherFormat(flags, toGguf)
  const progress = new Progress(flags)
  const onProgress = (fraction: number, tensor: string): void => progress.update(fraction, tensor)
  const started = Date.now()
  const written = toGguf
    ? await asGguf(opened.source, flags, onProgress)
    : opened.base
      ? await merged(opened, flags, onProgress)
      : await asFolder(opened.source, flags, onProgress)
  progress.clear()
  const seconds = (Date.now() - started) / 1000
  if (flags.json) process.stdout.write(`${JSON.stringify({ model, out: flags.out, ...written, seconds })}\n`)
  else if (!flags.quiet) {
    const rate = `${shortBytes(written.bytes)} in ${seconds.toFixed(1)} s`
    process.stdout.write(
      `${green('ok')} ${flags.out}: ${count(written.tensors)} tensors, ${written.what}, ${rate}\n`,
    )
  }
}

function refuseOverwriting(model: string, out: string): void {
  if (resolve(model) === resolve(out))
    throw new ConfigError('is the model itself: name another place', { path: '--out' })
  refuseFile(out)
  refuseFolderOfWeights(out)
}

function refuseOtherFormat({ type, dtype, name, experts, shardSize }: Flags, toGguf: boolean): void {
  if (toGguf && dtype) throw new ConfigError('is for folders; for GGUF use --type', { path: '--dtype' })
  if (toGguf && experts)
    throw new ConfigError('is for folders: GGUF has experts stacked', { path: '--experts' })
  if (toGguf && shardSize) throw new ConfigError('is for folders: GGUF is one file', { path: '--shard-size' })
  if (!toGguf && type)
    throw new ConfigError('is for GGUF files; for a folder use --dtype', { path: '--type' })
  if (!toGguf && name) throw new ConfigError('is for GGUF files', { path: '--name' })
}

type Written = { bytes: number; tensors: number; what: string }
type OnProgress = (fraction: number, tensor: string) => void

async function asGguf(source: ModelSource, flags: Flags, onProgress: OnProgress): Promise<Written> {
  const { noTokenizer, parseTypeRules, tokenizerMetadata, writeGgufModel } = await import(
    '../../models/index.ts'
  )
  const rules = parseTypeRules(flags.type ?? 'f16', '--type')
  const { vocab_size } = source.config
  const tokenizer = flags.tokenizer ? tokenizerMetadata(source.path, vocab_size) : noTokenizer
  const name = flags.name ?? basename(resolve(source.path))
  const { types, ...written } = writeGgufModel(source, flags.out, { rules, name, tokenizer, onProgress })
  const what = Object.entries(types).map(([type, tensors]) => `${tensors} ${type}`)
  return { ...written, what: what.join(', ') }
}

/** An adapter and its base as one model, which is summed in f32. */
async function merged(opened: OpenedModel, flags: Flags, onProgress: OnProgress): Promise<Written> {
  opened.requireMergeable()
  const { copyTokenizer, saveModel } = await import('../../models/index.ts')
  const model = opened.load()
  const { files, ...written } = saveModel(flags.out, model, opened.config, folderOptions(flags, onProgress))
  model.dispose()
  if (flags.tokenizer) copyTokenizer(opened.path, flags.out)
  return { ...written, what: `${filesText(files)}, an adapter merged into its base` }
}

async function asFolder(source: ModelSource, flags: Flags, onProgress: OnProgress): Promise<Written> {
  const { copyTokenizer, writeModelFolder } = await import('../../models/index.ts')
  const { files, ...written } = writeModelFolder(flags.out, source, folderOptions(flags, onProgress))
  if (flags.tokenizer) copyTokenizer(source.path, flags.out)
  return { ...written, what: filesText(files) }
}

const folderOptions = (
  { dtype, experts = 'published', shardSize: shardBytes = 5e9 }: Flags,
  onProgress: OnProgress,
): WriteFolderOptions => ({ dtype, experts, shardBytes, onProgress })

const filesText = (files: number): string => (files === 1 ? 'one file' : `${files} files`)

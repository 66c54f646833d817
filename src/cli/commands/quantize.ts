// `switchyard quantize`: a GGUF file whose blocks are fitted to what goes into each matrix.

import { basename, extname, resolve } from 'node:path'
import { Command, Option } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { Hessians, ImportanceMatrix, QuantizedModel, TypePlan } from '../../lifecycle/index.ts'
import type { OpenedModel } from '../../models/index.ts'
import type { Evaluation } from '../../train/index.ts'
import { splitFor, windowLength } from '../corpus-windows.ts'
import { openNamed } from '../open-model.ts'
import { refuseFile } from '../outputs.ts'
import { Progress } from '../progress.ts'
import { evaluationChanges, quantizedSummary } from '../quantization-report.ts'
import { chooseBatches, readBatches, type TextFlags, textSequences } from '../sequences.ts'
import { numberOf, sizeOf, wholeNumberOf } from '../values.ts'

interface Flags extends Omit<TextFlags, 'split'> {
  out: string
  imatrix?: string
  imatrixOut?: string
  type?: string
  bits?: number
  size?: number
  types: string
  method: 'fitted' | 'gptq'
  evaluate?: boolean
  tokenizer: boolean
  name?: string
  json?: boolean
  quiet?: boolean
}

const help = `
The model reads text, and the mean square of what enters each column of each
matrix is how much that column counts when its weights are rounded; an expert
is told by the tokens that chose it. --imatrix takes this from a file instead,
as llama-imatrix writes it. Experts that no token chose are rounded to nearest,
and named.

--method gptq rounds column after column, so that later ones make up for what
was lost; it reads the text again for every few matrices. A matrix with fewer
samples than columns is fitted instead.

Types are chosen by --type, as for convert, or within a budget: --bits or --size
of all tensors, where those types are taken that lose least in sum. A stacked
tensor has one type for all its experts. Routers, vectors and selection biases
stay f32.

Examples:
  switchyard quantize runs/tiny --data data/corpus --bits 4.5 --out tiny.gguf
  switchyard quantize olmoe --text book.txt --type q4_k --out olmoe.gguf
  switchyard quantize olmoe --imatrix olmoe.imatrix --size 3GB --out olmoe.gguf`

/** What a model reads to calibrate, unless told otherwise: a hundred sequences of llama.cpp's 512 tokens. */
const [defaultTokens, defaultBatches, defaultBatchSize] = [512, 25, 4]

export function quantizeCommand(): Command {
  return new Command('quantize')
    .description('a GGUF file, rounded by what text makes of each matrix')
    .argument('<model>', 'model folder, run folder, .gguf file or downloaded org/name')
    .requiredOption('--out <file>', 'the .gguf file')
    .addOption(
      new Option('--data <dir>', "training text of a corpus made by 'switchyard data prepare'").conflicts(
        'text',
      ),
    )
    .option('--text <file>', 'text of a file')
    .option(
      '--batches <n>',
      `batches to read, spread evenly (default: ${defaultBatches})`,
      wholeNumberOf('--batches', 1),
    )
    .option('--batch-size <n>', 'sequences per batch', wholeNumberOf('--batch-size', 1), defaultBatchSize)
    .option(
      '--sequence-length <n>',
      `tokens per sequence (default: the model's positions, at most ${defaultTokens})`,
      wholeNumberOf('--sequence-length', 1),
    )
    .option('--imatrix <file>', 'importance that was collected before, in place of text')
    .option('--imatrix-out <file>', "keep what was collected, as llama.cpp's tools read it")
    .option('--type <rules>', 'types by role, as for convert (default: q4_k)')
    .addOption(
      new Option('--bits <n>', 'bits per weight of all tensors, at most')
        .argParser(numberOf('--bits', { above: 0 }))
        .conflicts('type'),
    )
    .addOption(
      new Option('--size <size>', 'bytes of all tensors, at most, as 2GiB')
        .argParser(sizeOf('--size'))
        .conflicts(['type', 'bits']),
    )
    .option('--types <list>', 'what --bits and --size choose among', 'q8_0,q6_k,q5_k,q4_k,q3_k,q2_k,q4_0')
    .addOption(
      new Option('--method <name>', 'blocks fitted alone, or column after column')
        .choices(['fitted', 'gptq'])
        .default('fitted'),
    )
    .option('--evaluate', 'perplexity before and after, on the validation text of --data')
    .option('--no-tokenizer', 'leave the tokenizer out')
    .option('--name <name>', "the model's name in the file (default: of the folder)")
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but errors')
    .addHelpText('after', help)
    .action(quantize)
}

async function quantize(path: string, flags: Flags): Promise<void> {
  refuseFlags(flags)
  const { quantizeModel } = await import('../../lifecycle/index.ts')
  const opened = await openNamed(path, flags)
  const plan = await planOf(flags)
  const progress = new Progress({ quiet: flags.quiet === true })
  const show = (work: string, fraction: number, what = ''): void => progress.update(fraction, work, what)
  const { matrix, hessians } = await importanceOf(opened, flags, show)
  const quantized = quantizeModel(opened.source, flags.out, {
    plan,
    squares: matrix.tensors,
    ...(hessians && { hessians }),
    name: flags.name ?? basename(resolve(opened.source.path)),
    tokenizer: await tokenizerOf(opened, flags),
    onProgress: show,
  })
  const evaluations = flags.evaluate ? await evaluateBoth(opened, flags, show) : null
  progress.clear()
  printResult(opened, flags, quantized, evaluations)
}

function refuseFlags({ out, imatrix, imatrixOut, data, text, method, evaluate }: Flags): void {
  if (extname(out) !== '.gguf') throw new ConfigError(`must end in .gguf, got '${out}'`, { path: '--out' })
  refuseFile(out)
  if (imatrixOut !== undefined) refuseFile(imatrixOut, '--imatrix-out')
  if (imatrix !== undefined && imatrixOut !== undefined)
    throw new ConfigError('keeps what text gives: leave --imatrix out', { path: '--imatrix-out' })
  if (imatrix !== undefined && text !== undefined)
    throw new ConfigError('is in place of text: leave one of them out', { path: '--imatrix' })
  if (imatrix !== undefined && method === 'gptq')
    throw new ConfigError('needs text: an importance matrix holds no products of inputs', {
      path: '--method',
    })
  if (imatrix === undefined && data === undefined && text === undefined)
    throw new ConfigError('is missing: name a corpus, a file with --text, or an --imatrix', {
      path: '--data',
    })
  if (evaluate && data === undefined)
    throw new ConfigError('needs a corpus with validation text: name it with --data', { path: '--evaluate' })
}

async function planOf({ type = 'q4_k', bits, size, types }: Flags): Promise<TypePlan> {
  const { parseTypeRules, parseTypes } = await import('../../models/index.ts')
  if (bits === undefined && size === undefined)
    return { kind: 'rules', rules: { ...parseTypeRules(type, '--type'), router: 'F32' } }
  const budget = bits === undefined ? { bytes: size ?? 0 } : { bitsPerWeight: bits }
  return { kind: 'budget', budget, types: parseTypes(types, '--types') }
}

type Show = (work: string, fraction: number, what?: string) => void

/** Read from a file, or collected. */
async function importanceOf(
  opened: OpenedModel,
  flags: Flags,
  show: Show,
): Promise<{ matrix: ImportanceMatrix; hessians?: Hessians }> {
  const { calibrate, Hessians, readImportanceMatrix, squaresByTensor, writeImportanceMatrix } = await import(
    '../../lifecycle/index.ts'
  )
  const { ggufTensorsOf } = await import('../../models/index.ts')
  if (flags.imatrix !== undefined) return { matrix: readImportanceMatrix(flags.imatrix) }
  const tensors = ggufTensorsOf(opened.source) // a model that GGUF cannot hold is refused before it reads
  const { batches: most = defaultBatches, sequenceLength = lengthFor(opened) } = flags
  const sequences = await textSequences(opened, { ...flags, split: 'train', sequenceLength })
  const batches = await chooseBatches(sequences, { ...flags, batches: most })
  const model = opened.load({ kind: 'decoder', weights: 'stored' })
  const byParameter = await calibrate(model, readBatches(sequences, batches), done =>
    show('calibrating', done / batches.length),
  )
  const matrix = {
    tensors: squaresByTensor(tensors, byParameter),
    datasets: [flags.text ?? flags.data ?? ''],
    chunks: batches.flat().length,
    chunkSize: sequenceLength,
  }
  if (flags.imatrixOut !== undefined) writeImportanceMatrix(flags.imatrixOut, matrix)
  if (flags.method === 'fitted') return { matrix }
  const texts = [...readBatches(sequences, batches)]
  const again = opened.load({ kind: 'decoder', weights: 'stored' })
  return { matrix, hessians: new Hessians(again, texts, byParameter) }
}

function lengthFor({ config }: OpenedModel): number {
  const positions =
    'max_position_embeddings' in config ? Number(config.max_position_embeddings) : defaultTokens
  return Math.min(defaultTokens, positions)
}

async function tokenizerOf(opened: OpenedModel, { tokenizer }: Flags) {
  const { noTokenizer, tokenizerMetadata } = await import('../../models/index.ts')
  const { path, config } = opened.source
  return tokenizer ? tokenizerMetadata(path, config.vocab_size) : noTokenizer
}

/** The model as it was, and as it was written. */
async function evaluateBoth(
  opened: OpenedModel,
  flags: Flags,
  show: Show,
): Promise<[Evaluation, Evaluation]> {
  const { openModel } = await import('../../models/index.ts')
  const before = await evaluateOn(opened, opened, flags, share => show('evaluating', share / 2))
  const written = openModel(flags.out)
  const after = await evaluateOn(opened, written, flags, share => show('evaluating', (1 + share) / 2))
  return [before, after]
}

/** @param tokenized whose tokenizer the corpus is checked against */
async function evaluateOn(
  tokenized: OpenedModel,
  opened: OpenedModel,
  flags: Flags,
  onProgress: (share: number) => void,
): Promise<Evaluation> {
  const { openCorpus } = await import('../../data/index.ts')
  const { evaluate, tasksOfDomains, TokenWindows } = await import('../../train/index.ts')
  const { sequenceLength: _, ...rest } = flags
  const windowFlags = { ...rest, data: flags.data ?? '', split: 'validation' as const }
  const corpus = openCorpus(windowFlags.data)
  const split = splitFor(tokenized, corpus, windowFlags)
  const model = opened.load({ kind: 'decoder', weights: 'stored' })
  const tasks = tasksOfDomains(opened.config, corpus.domains)
  const length = Math.min(windowLength(windowFlags, model.config, split), defaultTokens)
  const windows = new TokenWindows(split, length, tasks)
  const { batchSize } = flags
  return evaluate(model, windows, { domains: corpus.domains, batchSize, batches: null, onProgress })
}

function printResult(
  { path: model }: OpenedModel,
  { out, json, quiet }: Flags,
  quantized: QuantizedModel,
  evaluations: [Evaluation, Evaluation] | null,
): void {
  if (json) {
    const [before, after] = evaluations ?? []
    process.stdout.write(`${JSON.stringify({ model, out, ...quantized, before, after }, null, 2)}\n`)
    return
  }
  if (quiet) return
  const changes = evaluations ? `\n\n${evaluationChanges(...evaluations)}` : ''
  process.stdout.write(`${quantizedSummary(out, quantized)}${changes}\n`)
}

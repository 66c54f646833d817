// `switchyard data`: corpora and tokenizers.

import { Command, Option } from 'commander'
import { debianDomains, defaultDomains } from '../../data/debian/domains.ts' // small: --help stays quick
import type {
  Corpus,
  PrepareOptions,
  PrepareProgress,
  TextSource,
  TokenizerChoice,
} from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import { Interruption } from '../interruption.ts'
import type { PreparedData } from '../model-data.ts'
import { openNamed } from '../open-model.ts'
import { Progress } from '../progress.ts'
import { green } from '../terminal.ts'
import { numberOf, sizeOf, wholeNumberOf } from '../values.ts'
import { describeCorpus, skippedLines } from './data-report.ts'
import { parseTokenizer } from './tokenizer-option.ts'

interface PrepareFlags {
  out: string
  domains?: string
  size?: number
  from?: string[]
  domain?: string
  sample?: boolean
  for?: string
  pairs?: string
  sentinels?: number
  tokenizer: TokenizerChoice
  validation: number
  seed: number
  cache: string
  force?: boolean
  json?: boolean
  quiet?: boolean
}

interface InfoFlags {
  verify?: boolean
  json?: boolean
  quiet?: boolean
}

const defaults = new Set<string>(defaultDomains)

const domainList = Object.entries(debianDomains)
  .map(
    ([name, { title }]) => `  ${name.padEnd(7)}${title}${defaults.has(name) ? '' : ' (only when asked for)'}`,
  )
  .join('\n')

const prepareHelp = `
Text comes from Debian packages (kept in --cache, nothing is installed), from
your own files (text, JSONL or Parquet with a 'text' and perhaps a 'domain',
also .gz and .zst), or from the sample that ships with Switchyard.

With --pairs it is parallel text for encoder-decoders: files NAME.en and NAME.de
in --from, line by line, or the manual pages of this machine that there are in
both languages, paragraph by paragraph where both are built alike. A tokenizer
that is made here has a token for each language, as __en__.

Domains from Debian:
${domainList}

Examples:
  switchyard data prepare --sample --out data/sample
  switchyard data prepare --domains en,code,fr --size 8MB --out data/three
  switchyard data prepare --from books/en books/fr notes.jsonl --out data/mine
  switchyard data prepare --from chats.jsonl --for MODEL --out data/chats
  switchyard data prepare --pairs en-de,en-fr --out data/manuals
  switchyard data prepare --pairs en-de --from texts --out data/texts`

const infoHelp = `
'unigram nats' is the entropy of a domain's token frequencies: the loss of a
model that knows only how common each token is.

Example:
  switchyard data info data/sample`

export function dataCommand(): Command {
  return new Command('data')
    .description('prepare and describe corpora')
    .addCommand(prepareCommand())
    .addCommand(infoCommand())
}

function prepareCommand(): Command {
  return new Command('prepare')
    .description('turn text into a corpus: cleaned, tokenized, packed, with its tokenizer')
    .requiredOption('--out <dir>', 'folder of the corpus')
    .addOption(
      new Option(
        '--domains <list>',
        'kinds of text from Debian, as en,code (a wrong one lists them all)',
      ).conflicts(['from', 'sample']),
    )
    .addOption(new Option('--from <path...>', 'your own files and folders').conflicts('sample'))
    .addOption(
      new Option(
        '--for <model>',
        'with --from: its tokenizer, and conversations by its chat template',
      ).conflicts(['tokenizer', 'domain', 'size']),
    )
    .option('--domain <name>', "kind of text in --from, where it does not say (default: the path's name)")
    .option('--sample', 'the text that ships with Switchyard')
    .addOption(
      new Option('--pairs <list>', 'translations, as en-de,en-fr, from --from or manual pages').conflicts([
        'domains',
        'sample',
        'domain',
        'size',
      ]),
    )
    .option(
      '--sentinels <n>',
      'give the tokenizer so many <extra_id_N>, for span corruption (default: 0)',
      wholeNumberOf('--sentinels', 1),
    )
    .option(
      '--size <size>',
      'most text of each domain, as 8MB (default: 2MB from Debian, else everything)',
      sizeOf('--size'),
    )
    .addOption(
      new Option('--tokenizer <kind>', 'bpe:SIZE to train one, bytes, or a model folder or tokenizer.json')
        .argParser(parseTokenizer)
        .default(parseTokenizer('bpe:4096'), 'bpe:4096'),
    )
    .option(
      '--validation <share>',
      "share of each domain's text to hold out",
      numberOf('--validation', { least: 0, most: 0.5 }),
      0.02,
    )
    .option('--seed <number>', 'decides which documents are taken and held out', wholeNumberOf('--seed'), 1)
    .option('--cache <dir>', 'keeps downloaded packages', 'data/cache')
    .option('--force', 'replace a corpus that is there')
    .option('--json', 'print the manifest as JSON')
    .option('--quiet', 'show no progress')
    .addHelpText('after', prepareHelp)
    .action(prepare)
}

function infoCommand(): Command {
  return new Command('info')
    .description('describe a corpus')
    .argument('<dir>', 'folder of the corpus')
    .option('--verify', 'compare the checksum of every shard')
    .option('--json', 'print the manifest as JSON')
    .option('--quiet', 'show no progress')
    .addHelpText('after', infoHelp)
    .action(info)
}

async function prepare(flags: PrepareFlags): Promise<void> {
  const { prepareCorpus } = await import('../../data/index.ts')
  const progress = new Progress({ quiet: flags.quiet ?? false })
  let step: PrepareProgress | undefined
  const draw = (): void => {
    if (step) progress.update(step.fraction, step.text)
  }
  const heartbeat = setInterval(draw, 200) // a step without news must still show
  const interruption = new Interruption(() => progress.note('stopping; nothing is kept'))
  const { signal } = interruption
  const onProgress = (next: PrepareProgress): void => {
    step = next
    draw()
  }
  const prepared = async (): Promise<PreparedData> => {
    const options = await prepareOptions(flags)
    const corpus = await prepareCorpus({ ...options, onProgress, signal })
    return { corpus, skipped: options.source.skipped }
  }
  try {
    const more = { onProgress, signal }
    const { corpus, skipped } = flags.pairs
      ? { corpus: await preparedPairs(flags.pairs, flags, more), skipped: [] }
      : flags.for === undefined
        ? await prepared()
        : await preparedFor(flags.for, flags, more)
    for (const line of skippedLines(skipped)) progress.line(line)
    progress.clear()
    process.stdout.write(flags.json ? toJson(corpus.manifest) : describeCorpus(corpus))
  } catch (error) {
    if (!signal.aborted) throw error
    process.exitCode = interruption.exitCode
  } finally {
    clearInterval(heartbeat)
    interruption.release()
    progress.clear()
  }
}

/** Text or conversations for a model that is there. */
async function preparedFor(
  model: string,
  { from, out, validation, seed, force = false, sentinels }: PrepareFlags,
  more: Pick<PrepareOptions, 'onProgress' | 'signal'>,
): Promise<PreparedData> {
  if (from === undefined) throw new ConfigError('is for files: name them with --from', { path: '--for' })
  refuseSentinels(sentinels)
  const { prepareForModel } = await import('../model-data.ts')
  return prepareForModel(await openNamed(model, { quiet: true }), {
    out,
    paths: from,
    validation,
    seed,
    force,
    ...more,
  })
}

/** Parallel text, for a model that is there or one that is to be made. */
async function preparedPairs(
  list: string,
  { from, out, for: model, tokenizer, validation, seed, force = false, sentinels }: PrepareFlags,
  more: Pick<PrepareOptions, 'onProgress' | 'signal'>,
): Promise<Corpus> {
  const { languagesOf, parallelFiles, parallelManuals, parseLanguagePairs, prepareExamples } = await import(
    '../../data/index.ts'
  )
  const pairs = parseLanguagePairs(list, '--pairs')
  const source = from ? parallelFiles(from, pairs) : parallelManuals(pairs)
  const options = { out, source, validation, seed, force, ...more }
  if (model !== undefined) {
    refuseSentinels(sentinels)
    const { prepareExamplesForModel } = await import('../model-data.ts')
    return prepareExamplesForModel(await openNamed(model, { quiet: true }), options)
  }
  const languages = languagesOf(pairs).map(language => `__${language}__`)
  const specialTokens = [...languages, ...(await namesOfSentinels(sentinels))]
  return prepareExamples({ ...options, tokenizer, specialTokens, apart: true })
}

function refuseSentinels(sentinels: number | undefined): void {
  if (sentinels !== undefined)
    throw new ConfigError("is for tokenizers that are made here, not for a model's: leave it out", {
      path: '--sentinels',
    })
}

async function namesOfSentinels(count = 0): Promise<string[]> {
  const { sentinelNames } = await import('../../data/index.ts')
  return sentinelNames(count)
}

async function prepareOptions(flags: PrepareFlags): Promise<PrepareOptions> {
  const size = flags.size ?? defaultSize(flags)
  return {
    out: flags.out,
    source: await chooseSource(flags),
    tokenizer: flags.tokenizer,
    specialTokens: await namesOfSentinels(flags.sentinels),
    ...(size !== undefined && { size }),
    validation: flags.validation,
    seed: flags.seed,
    force: flags.force ?? false,
  }
}

async function info(folder: string, flags: InfoFlags): Promise<void> {
  const { openCorpus, verifyCorpus } = await import('../../data/index.ts')
  const corpus = openCorpus(folder)
  if (flags.verify) {
    const progress = new Progress({ quiet: flags.quiet ?? false })
    try {
      await verifyCorpus(corpus, (fraction, file) => progress.update(fraction, `verifying ${file}`))
    } finally {
      progress.clear()
    }
  }
  if (flags.json) process.stdout.write(toJson(corpus.manifest))
  else process.stdout.write(`${describeCorpus(corpus)}${flags.verify ? `\n${verified(corpus)}\n` : ''}`)
}

function verified({ train, validation }: Corpus): string {
  const shards = train.shards.length + validation.shards.length
  return `${green('ok')} the checksums of all ${shards} shards match`
}

async function chooseSource({ sample, from, domain, domains, cache }: PrepareFlags): Promise<TextSource> {
  const { debianSource, fileSource, sampleSource } = await import('../../data/index.ts')
  if (domain !== undefined && from === undefined) {
    throw new ConfigError('names the text of --from, which is not given', { path: '--domain' })
  }
  if (sample) return sampleSource()
  if (from) return fileSource({ paths: from, ...(domain !== undefined && { domain }) })
  const chosen = domains?.split(',').map(name => name.trim())
  return debianSource({ ...(chosen && { domains: chosen }), cache })
}

/** Debian holds far more than a first corpus needs; what users bring they want whole. */
function defaultSize({ from, sample }: PrepareFlags): number | undefined {
  return from || sample ? undefined : 2e6
}

const toJson = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`

// `switchyard init`: a model of random weights, of any architecture and size.

import { existsSync } from 'node:fs'
import { extname, join } from 'node:path'
import { Command } from 'commander'
import type { Tokenizer } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import type { AnyModelConfig, ModelSource, WriteFolderOptions } from '../../models/index.ts'
import { refuseFile, refuseFolderOfWeights } from '../outputs.ts'
import { Progress } from '../progress.ts'
import { count, green, shortBytes } from '../terminal.ts'
import { numberOf, wholeNumberOf } from '../values.ts'

interface Flags {
  out: string
  dtype: string
  seed: number
  skew?: number
  tokenizer?: string
  name: string
  json?: boolean
  quiet?: boolean
}

const help = `
CONFIG is a recipe (its model and router; the vocabulary is model.vocab_size or
that of --tokenizer), a config.json, or preset:NAME as in 'switchyard inspect'.
An --out that ends in .gguf is written as GGUF, any other as a model folder.

Weights are what training would start from, but for the routers: the expert of
rank r gets a share of tokens like 1 / r^SKEW, at most 40%, as trained models'
loads differ. 0 leaves them even. The same seed gives the same file. In memory
are two parameters at a time, of which a layer's experts are the largest.

Examples:
  switchyard init recipes/tiny-moe.yaml --out tiny --tokenizer data/corpus
  switchyard init preset:olmoe-1b-7b --out olmoe.gguf --dtype q4_0 --skew 0`

export function initCommand(): Command {
  return new Command('init')
    .description('write a model of random weights, of any architecture and size')
    .argument('<config>', 'recipe, config.json or preset:NAME')
    .requiredOption('--out <path>', 'a .gguf file, or a folder')
    .option('--dtype <types>', "f32, bf16 or f16; of GGUF also what convert's --type takes", 'bf16')
    .option('--seed <number>', 'of the weights', wholeNumberOf('--seed'), 0)
    .option(
      '--skew <exponent>',
      'how uneven the load of experts is (default: 0.5)',
      numberOf('--skew', { least: 0 }),
    )
    .option('--tokenizer <dir>', 'folder whose tokenizer the model gets (default: none)')
    .option('--name <name>', "the model's name in a GGUF file", 'random')
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but errors')
    .addHelpText('after', help)
    .action(init)
}

async function init(named: string, flags: Flags): Promise<void> {
  const toGguf = extname(flags.out) === '.gguf'
  refuseFile(flags.out)
  refuseFolderOfWeights(flags.out)
  const { drawnSource } = await import('../../models/index.ts')
  const config = await configNamed(named, await tokenizerOf(flags))
  const source = drawnSource(config, { seed: flags.seed, skew: flags.skew })
  await refuseWithoutMemory(source)
  const progress = new Progress(flags)
  const onProgress = (fraction: number, tensor: string): void => progress.update(fraction, tensor)
  const started = Date.now()
  const written = await (toGguf ? asGguf : asFolder)(source, flags, onProgress)
  progress.clear()
  const seconds = (Date.now() - started) / 1000
  const { model_type } = config
  if (flags.json)
    process.stdout.write(`${JSON.stringify({ model_type, out: flags.out, ...written, seconds })}\n`)
  else if (!flags.quiet) {
    const size = `${count(written.tensors)} tensors, ${shortBytes(written.bytes)} in ${seconds.toFixed(1)} s`
    process.stdout.write(`${green('ok')} ${flags.out}: ${model_type}, ${size}\n`)
  }
}

async function tokenizerOf({ tokenizer: folder }: Flags): Promise<Tokenizer | null> {
  if (folder === undefined) return null
  const file = join(folder, 'tokenizer.json')
  if (!existsSync(file))
    throw new ConfigError(`${folder} has no tokenizer.json: name a folder that has one`, {
      path: '--tokenizer',
    })
  const { loadTokenizer } = await import('../../data/index.ts')
  return loadTokenizer(file)
}

async function configNamed(named: string, tokenizer: Tokenizer | null): Promise<AnyModelConfig> {
  const config = await readConfig(named, tokenizer)
  if (tokenizer && tokenizer.vocabSize > config.vocab_size) {
    throw new ConfigError(
      `has ${tokenizer.vocabSize} tokens, and ${named} a vocabulary of ${config.vocab_size}: name a smaller one, or raise vocab_size`,
      { path: '--tokenizer' },
    )
  }
  return config
}

async function readConfig(named: string, tokenizer: Tokenizer | null): Promise<AnyModelConfig> {
  if (/\.ya?ml$/.test(named)) return ofRecipe(named, tokenizer)
  const { presetConfig, readAnyConfig } = await import('../../models/index.ts')
  return named.startsWith('preset:') ? presetConfig(named.slice('preset:'.length)) : readAnyConfig(named)
}

async function ofRecipe(file: string, tokenizer: Tokenizer | null): Promise<AnyModelConfig> {
  const { isOpened, isStack, loadRecipe, recipeConfig } = await import('../../train/index.ts')
  const recipe = loadRecipe(file)
  if (isOpened(recipe.model)) {
    throw new ConfigError('names a model that is there: init draws new ones, of a recipe with sizes', {
      path: `${file}: model.from`,
    })
  }
  if (!isStack(recipe.model) && tokenizer === null) {
    throw new ConfigError('is missing: an encoder-decoder takes the ids of its special tokens from it', {
      path: '--tokenizer',
    })
  }
  const { vocab_size, type } = recipe.model
  // An encoder's vocabulary has the mask token beyond its tokenizer's.
  const own = vocab_size === undefined ? undefined : vocab_size - (type === 'switchyard_moe_encoder' ? 1 : 0)
  const size = tokenizer?.vocabSize ?? own
  if (size === undefined) {
    throw new ConfigError('is missing, which training takes from the corpus: set it, or give --tokenizer', {
      path: `${file}: model.vocab_size`,
    })
  }
  const { pad, bos, eos } = tokenizer?.specialIds ?? {}
  return recipeConfig(recipe, { size, domains: [], pad, bos, eos })
}

async function refuseWithoutMemory(source: ModelSource): Promise<void> {
  const { drawingMemory } = await import('../../models/index.ts')
  const { availableMemory } = await import('../../train/index.ts')
  const [needed, available] = [drawingMemory(source.declarations), availableMemory('cpu')]
  if (needed <= available) return
  throw new ConfigError(
    `takes ${shortBytes(needed)} of memory, for the experts of one layer in f32, and ${shortBytes(available)} are free: use a larger machine, or fewer experts`,
    { path: source.path },
  )
}

type Written = { bytes: number; tensors: number }
type Write = (
  source: ModelSource,
  flags: Flags,
  onProgress: (fraction: number, tensor: string) => void,
) => Promise<Written>

const asGguf: Write = async (source, { out, dtype, name, tokenizer: folder }, onProgress) => {
  const { noTokenizer, parseTypeRules, tokenizerMetadata, writeGgufModel } = await import(
    '../../models/index.ts'
  )
  const rules = parseTypeRules(dtype, '--dtype')
  const { vocab_size } = source.config
  const tokenizer = folder === undefined ? noTokenizer : tokenizerMetadata(folder, vocab_size)
  return writeGgufModel(source, out, { rules, name, tokenizer, onProgress })
}

const folderTypes = ['f32', 'bf16', 'f16']

const asFolder: Write = async (source, { out, dtype, tokenizer }, onProgress) => {
  if (!folderTypes.includes(dtype)) {
    throw new ConfigError(
      `'${dtype}' is not one of ${folderTypes.join(', ')}; for blocks name a .gguf file in --out`,
      { path: '--dtype' },
    )
  }
  const { copyTokenizer, writeModelFolder } = await import('../../models/index.ts')
  const shardBytes = 5e9
  const written = writeModelFolder(out, source, {
    dtype: dtype as WriteFolderOptions['dtype'],
    shardBytes,
    onProgress,
  })
  if (tokenizer !== undefined) copyTokenizer(tokenizer, out)
  return written
}

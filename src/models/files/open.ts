// Any model that there is on this machine, by one call.

import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { commandLine } from '../../command-line.ts'
import { loadTokenizer, type Tokenizer } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import type { AnyModel } from '../architectures/create.ts'
import {
  type AnyModelConfig,
  isEncoderDecoder,
  requireDecoder,
  requireOneStack,
} from '../architectures/table.ts'
import type { EncoderDecoderLM } from '../stack/encoder-decoder.ts'
import type { CausalLM, LanguageModel } from '../stack/language-model.ts'
import { isAdapter, layoutOf } from './adapter/adapter-files.ts'
import { configName } from './adapter/layout.ts'
import { chatTemplateOf } from './chat-template.ts'
import { readAnyConfig } from './folder.ts'
import { isGgufFile } from './gguf/open.ts'
import { ggufTokenizer } from './gguf/read-tokenizer.ts'
import { cachedSnapshot } from './hf-cache.ts'
import { type LoadOptions, loadSource } from './load.ts'
import { checkpointOf } from './run-folder.ts'
import { type ModelSource, openSource } from './source.ts'

/** What a model is wanted for, and what it then is. */
export interface ModelKinds {
  any: AnyModel
  /** Something that writes text: a decoder continues it, an encoder-decoder answers it. */
  text: CausalLM | EncoderDecoderLM
  decoder: CausalLM
  /** One stack of layers: a decoder or an encoder. */
  stack: LanguageModel
}

/** Throws ConfigError for a model of another kind. */
const checks: Record<keyof ModelKinds, (config: AnyModelConfig, path: string) => unknown> = {
  any: () => null,
  text: (config, path) => isEncoderDecoder(config) || requireDecoder(config, path),
  decoder: requireDecoder,
  stack: requireOneStack,
}

/** A model whose description was read, and whose weights were not yet. */
export class OpenedModel {
  /** The folder or file that was found. */
  readonly path: string
  readonly config: AnyModelConfig
  #source: ModelSource | null = null
  #tokenizer: Tokenizer | null = null

  /** What the model is an adapter of, for one that is; null for others. */
  readonly base: OpenedModel | null

  /** @param above adapters that this is the base of */
  constructor(path: string, above: readonly string[] = []) {
    this.path = path
    this.base = isAdapter(path) ? baseBelow(path, above) : null
    this.config = this.base?.config ?? (isGgufFile(path) ? this.source.config : readAnyConfig(path))
  }

  /** @throws ConfigError for an adapter that no model of its own can have merged in */
  requireMergeable(): void {
    const why = this.base && layoutOf(this.path).whyApart
    if (why)
      throw new ConfigError(`is an adapter of ${this.base.path} and stays one: ${why}`, { path: this.path })
  }

  /** Its tensors, as files have them. @throws ConfigError for an adapter, of which no file has the sum */
  get source(): ModelSource {
    this.requireMergeable()
    if (this.base) {
      throw new ConfigError(
        `is an adapter of ${this.base.path}: write the model with it first, by '${commandLine()} convert ${this.path} --out FOLDER'`,
        { path: this.path },
      )
    }
    this.#source ??= openSource(this.path)
    return this.#source
  }

  /** Its tokenizer. A tokenizer.json beside a GGUF file goes before the file's metadata. */
  get tokenizer(): Tokenizer {
    this.#tokenizer ??= this.#openTokenizer()
    return this.#tokenizer
  }

  #openTokenizer(): Tokenizer {
    if (this.base && !existsSync(join(this.path, 'tokenizer.json'))) return this.base.tokenizer
    if (!isGgufFile(this.path)) return loadTokenizer(join(this.path, 'tokenizer.json'))
    const beside = join(this.path, '..', 'tokenizer.json')
    return existsSync(beside) ? loadTokenizer(beside) : ggufTokenizer(this.path)
  }

  /** How it writes conversations, in Jinja; null when it says nothing of it. */
  get template(): string | null {
    return chatTemplateOf(this.path) ?? this.base?.template ?? null
  }

  /**
   * Loads the weights, for evaluation; what a file has as memory wants it is mapped, not read. An adapter is merged into its base's
   * weights, which are decoded for it; one that cannot be is around them.
   *
   * @param options.kind what the model is wanted for. Default: anything
   * @throws ConfigError for a model of another kind; FormatError when its tensors do not fit, before anything is loaded
   */
  load<K extends keyof ModelKinds = 'any'>(options: LoadOptions & { kind?: K } = {}): ModelKinds[K] {
    const { kind = 'any', ...placement } = options
    checks[kind](this.config, this.path)
    if (this.base === null) return loadSource(this.source, placement) as ModelKinds[K]
    const layout = layoutOf(this.path)
    const merges = layout.whyApart === null
    const model = this.base.load(merges ? { ...placement, weights: 'decoded', mapped: false } : placement)
    try {
      layout.apply(model, this.config, this.path)
    } catch (error) {
      model.dispose()
      throw error
    }
    const { dtype = 'f32', device = 'cpu' } = placement
    return model.to(dtype).to(device).eval() as ModelKinds[K]
  }
}

/**
 * Opens a model folder as Hugging Face lays it out, a run folder (its best checkpoint), a GGUF file, or by `org/name` one
 * that Hugging Face's tools have downloaded. Headers are read and checked, weights are not.
 *
 * @example
 * const opened = openModel('runs/tiny')
 * for await (const piece of generateText(opened.load({ kind: 'text' }), opened.tokenizer, 'Once')) process.stdout.write(piece)
 * @throws ConfigError when there is none, or FormatError when it is damaged
 */
export function openModel(path: string): OpenedModel {
  return new OpenedModel(findModel(path))
}

/** @throws ConfigError for an adapter that is its own base, by whatever way */
function baseBelow(path: string, above: readonly string[]): OpenedModel {
  const named = layoutOf(path).baseOf(path)
  if (!named)
    throw new ConfigError('names no base model: set base_model_name_or_path', {
      path: join(path, configName),
    })
  const base = findModel(named)
  if ([...above, path].some(adapter => resolve(adapter) === resolve(base)))
    throw new ConfigError('is an adapter whose base is itself: set base_model_name_or_path', { path })
  return new OpenedModel(base, [...above, path])
}

/** The folder or file that a path or `org/name` means. */
export function findModel(path: string): string {
  if (existsSync(path)) return checkpointOf(path)
  const downloaded = cachedSnapshot(path)
  if (downloaded) return downloaded
  throw new ConfigError(
    'no such file or folder, nor a model that was downloaded; name a model folder, a run folder or a .gguf file',
    { path },
  )
}

// Adapters in files as Hugging Face's PEFT has them: adapter_config.json and adapter_model.safetensors.
// Shapes: E experts, r rank, I and J the last two dimensions of a stack of matrices.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { ConfigError, FormatError } from '../../../errors.ts'
import { writeDurably } from '../../../files.ts'
import { writeSafetensors } from '../../../formats/index.ts'
import { noGrad, type Tensor, tensor, tidy, zeros } from '../../../torch/index.ts'
import type { AdapterConfig, AdapterModule } from '../../adapters/attach.ts'
import type { LoraStack } from '../../adapters/lora-experts.ts'
import { LoraLinear } from '../../adapters/lora-linear.ts'
import { readJson } from '../folder.ts'
import { openTensors, wholeTensorSource } from '../tensor-file.ts'

const configName = 'adapter_config.json'
const weightsName = 'adapter_model.safetensors'
/** What PEFT puts before a module's path. */
const prefix = 'base_model.model.'

/** What is read of adapter_config.json; whatever would change the sum and is not known here is refused. */
const configSchema = z.looseObject({
  peft_type: z.literal('LORA'),
  base_model_name_or_path: z.string().nullish(),
  r: z.int().positive().max(65_536),
  lora_alpha: z.number().positive(),
  use_rslora: z.boolean().default(false),
  use_dora: z.literal(false).default(false),
  fan_in_fan_out: z.literal(false).default(false),
  bias: z.literal('none').default('none'),
  rank_pattern: z.record(z.string(), z.never()).default({}),
  alpha_pattern: z.record(z.string(), z.never()).default({}),
})

export type PeftConfig = z.infer<typeof configSchema>

/** Whether a folder holds an adapter. */
export const isAdapter = (folder: string): boolean => existsSync(join(folder, configName))

/** @throws FormatError for what is no LoRA adapter, or one whose sum is not that of plain LoRA */
export function readPeftConfig(folder: string): PeftConfig {
  const file = join(folder, configName)
  const result = configSchema.safeParse(readJson(file))
  if (result.success) return result.data
  const [issue] = result.error.issues
  const field = issue?.path.join('.') ?? ''
  throw new FormatError(`${field} is not what a plain LoRA adapter has (${issue?.message})`, { file })
}

/** A stack's additions as PEFT's ParamWrapper has them: `delta_e = (A_e)^T (B_e)^T`, A [E r, I], B [J, r E]. */
function wrapped({ lora_A, lora_B, experts }: LoraStack, all: number): { a: Tensor; b: Tensor } {
  const [rank = 0, columns = 0] = lora_A.shape.slice(1) // [A, r, J]
  const rows = lora_B.size(1) // [A, I, r]
  const spread = (part: Tensor): Tensor => {
    if (experts === 'all') return part
    const whole = zeros([all, ...part.shape.slice(1)], { dtype: part.dtype })
    for (const [i, expert] of experts.entries()) whole.select(0, expert).copy_(part.select(0, i))
    return whole
  }
  return {
    a: spread(lora_B.detach().transpose(1, 2)).reshape([all * rank, rows]), // [E, r, I]
    b: spread(lora_A.detach())
      .permute([2, 1, 0])
      .reshape([columns, rank * all]), // [J, r, E]
  }
}

/** The tensors of adapters, by the names that PEFT gives them, and what they are around. */
function described(adapters: ReadonlyMap<string, AdapterModule>): {
  tensors: Map<string, Tensor>
  modules: string[]
  parameters: string[]
} {
  const tensors = new Map<string, Tensor>()
  const [modules, parameters]: [string[], string[]] = [[], []]
  for (const [path, adapter] of adapters) {
    if (adapter instanceof LoraLinear) {
      modules.push(path)
      tensors.set(`${prefix}${path}.lora_A.weight`, adapter.lora_A.detach())
      tensors.set(`${prefix}${path}.lora_B.weight`, adapter.lora_B.detach())
      continue
    }
    // The first parameter of a module that PEFT wraps is innermost, under the others' base_layer.
    const stacks = [...adapter.stacks]
    for (const [i, { name, stack }] of stacks.entries()) {
      const place = `${prefix}${path}${'.base_layer'.repeat(stacks.length - 1 - i)}`
      const { a, b } = wrapped(stack, adapter.numExperts)
      parameters.push(`${path}.${name}`)
      tensors.set(`${place}.lora_A.weight`, a).set(`${place}.lora_B.weight`, b)
    }
  }
  return { tensors, modules, parameters }
}

/** What an adapter folder is made of. */
export interface Adapted {
  adapters: ReadonlyMap<string, AdapterModule>
  config: AdapterConfig
  /** What the base model is opened by. */
  base: string
  /** Parameters of the base that were trained beside the adapters, by path: PEFT's `modules_to_save`. */
  whole: ReadonlyMap<string, Tensor>
}

/** Writes adapters so that PEFT opens them around the same base. */
export function saveAdapters(folder: string, { adapters, config: settings, base, whole }: Adapted): void {
  const { rank, alpha, dropout } = settings
  noGrad(() =>
    tidy(() => {
      const { tensors, modules, parameters } = described(adapters)
      for (const [path, tensor] of whole) tensors.set(`${prefix}${path}`, tensor.detach())
      writeSafetensors(
        join(folder, weightsName),
        [...tensors].map(([name, tensor]) => wholeTensorSource(name, tensor.contiguous())),
        { format: 'pt' },
      )
      const config = {
        peft_type: 'LORA',
        task_type: 'CAUSAL_LM',
        base_model_name_or_path: base,
        r: rank,
        lora_alpha: alpha,
        lora_dropout: dropout,
        bias: 'none',
        target_modules: modules,
        target_parameters: parameters,
        modules_to_save: [...new Set([...whole.keys()].map(path => path.replace(/\.[^.]+$/, '')))],
        inference_mode: true,
      }
      writeDurably(join(folder, configName), `${JSON.stringify(config, null, 2)}\n`)
    }),
  )
}

/** Copies into adapters what saveAdapters() wrote of the same ones. @throws FormatError listing what does not fit, before any */
export function loadAdapters(folder: string, { adapters, whole }: Pick<Adapted, 'adapters' | 'whole'>): void {
  const file = join(folder, weightsName)
  noGrad(() =>
    tidy(() => {
      const saved = openTensors(file)
      const wanted = described(adapters).tensors
      for (const [path, tensor] of whole) wanted.set(`${prefix}${path}`, tensor)
      refuseMismatch(wanted, saved, file)
      const take = (name: string): Tensor => saved.get(name) as Tensor
      for (const [path, tensor] of whole) tensor.detach().copy_(take(`${prefix}${path}`))
      for (const [path, adapter] of adapters) fill(path, adapter, take)
    }),
  )
}

function refuseMismatch(
  wanted: ReadonlyMap<string, Tensor>,
  saved: ReadonlyMap<string, Tensor>,
  file: string,
): void {
  const problems = [...wanted].flatMap(([name, { shape }]) => {
    const found = saved.get(name)
    if (!found) return `missing ${name}`
    return found.shape.join() === shape.join()
      ? []
      : `${name} is [${found.shape.join(', ')}], not [${shape.join(', ')}]`
  })
  for (const name of saved.keys()) if (!wanted.has(name)) problems.push(`surplus ${name}`)
  if (problems.length > 0)
    throw new FormatError(`is of another adapter: ${problems.slice(0, 8).join('; ')}`, { file })
}

function fill(path: string, adapter: AdapterModule, take: (name: string) => Tensor): void {
  if (adapter instanceof LoraLinear) {
    adapter.lora_A.detach().copy_(take(`${prefix}${path}.lora_A.weight`))
    adapter.lora_B.detach().copy_(take(`${prefix}${path}.lora_B.weight`))
    return
  }
  for (const [i, { stack }] of adapter.stacks.entries()) {
    const place = `${prefix}${path}${'.base_layer'.repeat(adapter.stacks.length - 1 - i)}`
    const { left, right } = factors(
      take(`${place}.lora_A.weight`),
      take(`${place}.lora_B.weight`),
      adapter.numExperts,
    )
    const own = (of: Tensor): Tensor =>
      stack.experts === 'all' ? of : of.indexSelect(0, tensor(stack.experts.map(BigInt)))
    stack.lora_B.detach().copy_(own(left))
    stack.lora_A.detach().copy_(own(right))
  }
}

/** PEFT's two matrices of a stack, as factors of what is added to each expert: [E, I, r] and [E, r, J]. */
export function factors(a: Tensor, b: Tensor, experts: number): { left: Tensor; right: Tensor } {
  return {
    left: a.view([experts, -1, a.size(1)]).transpose(1, 2),
    right: b.view([b.size(0), -1, experts]).permute([2, 1, 0]),
  }
}

/** What an adapter adds to a tensor: `scale B A` to a matrix, or PEFT's product to a stack. */
export interface LowRank {
  /** The path of a module, as the adapter names it. */
  module: string
  /** How many of a module's parameters are wrapped outside of this one. */
  depth: number
  a: Tensor
  b: Tensor
}

/** What is in an adapter's file. */
export interface AdapterTensors {
  additions: LowRank[]
  /** Tensors in place of the base's, by name. */
  whole: Map<string, Tensor>
}

/** An adapter's tensors by what they are for. @throws FormatError for one that is alone, or no adapter's */
export function readAdapter(folder: string): AdapterTensors {
  const file = join(folder, weightsName)
  if (!existsSync(file)) throw new FormatError('is missing beside adapter_config.json', { file })
  const pairs = new Map<string, Partial<LowRank>>()
  const whole = new Map<string, Tensor>()
  for (const [name, tensor] of openTensors(file)) {
    if (!name.startsWith(prefix)) throw new FormatError(`tensor '${name}' is no adapter's`, { file })
    const own = name.slice(prefix.length)
    const [, place, which] = /^(.+)\.lora_([AB])(?:\.default)?\.weight$/.exec(own) ?? []
    if (place === undefined) whole.set(own.replace(/\.modules_to_save(\.default)?/, ''), tensor)
    else pairs.set(place, { ...pairs.get(place), [which === 'A' ? 'a' : 'b']: tensor })
  }
  const additions = [...pairs].map(([place, { a, b }]) => {
    if (!a || !b) throw new FormatError(`${place} has no lora_${a ? 'B' : 'A'}`, { file })
    const module = place.replace(/(\.base_layer)+$/, '')
    return { module, depth: (place.length - module.length) / '.base_layer'.length, a, b }
  })
  return { additions, whole }
}

/** `scale` of what is learnt: alpha / r, or alpha / sqrt(r). */
export const scaleOf = ({ r, lora_alpha: alpha, use_rslora: byRoot }: PeftConfig): number =>
  alpha / (byRoot ? Math.sqrt(r) : r)

/** The model that an adapter is for. @throws ConfigError when it names none */
export function baseOf(folder: string): string {
  const { base_model_name_or_path: base } = readPeftConfig(folder)
  if (base) return base
  throw new ConfigError('names no base model: set base_model_name_or_path', {
    path: join(folder, configName),
  })
}

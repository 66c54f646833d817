// Adapters to files as Hugging Face's PEFT has them, and back.
// Shapes: E experts, r rank, I and J the last two dimensions of a stack of matrices.

import { join } from 'node:path'
import { FormatError } from '../../../errors.ts'
import { writeDurably } from '../../../files.ts'
import { writeSafetensors } from '../../../formats/index.ts'
import { noGrad, type Tensor, tensor, tidy, zeros } from '../../../torch/index.ts'
import type { AdapterConfig, AdapterModule } from '../../adapters/attach.ts'
import type { LoraStack } from '../../adapters/lora-experts.ts'
import { LoraLinear } from '../../adapters/lora-linear.ts'
import { openTensors, wholeTensorSource } from '../tensor-file.ts'
import { configName } from './peft-config.ts'
import { factors, prefix, weightsName } from './peft-tensors.ts'

/** A stack's additions as PEFT's ParamWrapper has them: `delta_e = (A_e)^T (B_e)^T`, A [E r, I], B [J, r E]. */
function wrapped({ lora_A, lora_B, experts }: LoraStack, all: number): { a: Tensor; b: Tensor } {
  const [rank = 0, columns = 0] = lora_A.shape.slice(1) // [A, r, J]
  const rows = lora_B.size(1) // [A, I, r]
  const spread = (part: Tensor): Tensor => {
    if (experts === 'all') return part
    const whole = zeros([all, ...part.shape.slice(1)], { dtype: part.dtype, device: part.device })
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

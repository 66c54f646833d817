// Low-rank adapters as Hugging Face's PEFT has them in files, and back.
// Shapes: E experts, r rank, I and J the last two dimensions of a stack of matrices.

import { invariant } from '../../../errors.ts'
import { type Tensor, tensor, zeros } from '../../../torch/index.ts'
import type { AdapterModule } from '../../adapters/attach.ts'
import { LoraExperts, type LoraStack } from '../../adapters/lora-experts.ts'
import { LoraLinear } from '../../adapters/lora-linear.ts'
import type { AdapterLayout, Take } from './layout.ts'
import { mergeAdapter } from './merge.ts'
import { readPeftConfig } from './peft-config.ts'
import { factors, prefix } from './peft-tensors.ts'

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
    invariant(adapter instanceof LoraExperts, 'LoRA is around linear layers and stacked experts')
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

/** PEFT's LoRA, which opens such a folder around the same base. What is trained beside is its `modules_to_save`. */
export const loraLayout: AdapterLayout = {
  peftType: 'LORA',
  whyApart: null,
  baseOf: folder => readPeftConfig(folder).base_model_name_or_path ?? null,
  describe({ adapters, config: settings, base, whole, task = 'CAUSAL_LM' }) {
    invariant(settings.kind === 'lora', 'each kind has a layout of its own')
    const { rank, alpha, dropout } = settings
    const { tensors, modules, parameters } = described(adapters)
    const config = {
      peft_type: 'LORA',
      task_type: task,
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
    return { config, tensors }
  },
  nameOfWhole: path => `${prefix}${path}`,
  fill(adapters, take) {
    for (const [path, adapter] of adapters) fill(path, adapter, take)
  },
  apply: mergeAdapter,
}

function fill(path: string, adapter: AdapterModule, take: Take): void {
  if (adapter instanceof LoraLinear) {
    adapter.lora_A.detach().copy_(take(`${prefix}${path}.lora_A.weight`))
    adapter.lora_B.detach().copy_(take(`${prefix}${path}.lora_B.weight`))
    return
  }
  invariant(adapter instanceof LoraExperts, 'LoRA is around linear layers and stacked experts')
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

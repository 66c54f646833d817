// adapter_model.safetensors of Hugging Face's PEFT: names, and what its tensors add to which parts of a model.
// Shapes: E experts, r rank, I and J the last two dimensions of a stack of matrices.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { FormatError } from '../../../errors.ts'
import type { Tensor } from '../../../torch/index.ts'
import { openTensors } from '../tensor-file.ts'
import { weightsName } from './layout.ts'

/** What PEFT puts before a module's path. */
export const prefix = 'base_model.model.'

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
    if (a.ndim !== 2 || b.ndim !== 2)
      throw new FormatError(`${place} has factors that are no matrices`, { file })
    const module = place.replace(/(\.base_layer)+$/, '')
    return { module, depth: (place.length - module.length) / '.base_layer'.length, a, b }
  })
  return { additions, whole }
}

/** PEFT's two matrices of a stack, as factors of what is added to each expert: [E, I, r] and [E, r, J]. */
export function factors(a: Tensor, b: Tensor, experts: number): { left: Tensor; right: Tensor } {
  return {
    left: a.view([experts, -1, a.size(1)]).transpose(1, 2),
    right: b.view([b.size(0), -1, experts]).permute([2, 1, 0]),
  }
}

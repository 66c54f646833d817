// How adapters of a kind lie in a folder: adapter_config.json beside their tensors.

import { join } from 'node:path'
import { FormatError } from '../../../errors.ts'
import type { Module } from '../../../nn/index.ts'
import type { Tensor } from '../../../torch/index.ts'
import type { AdapterConfig, AdapterModule } from '../../adapters/attach.ts'
import type { AnyModelConfig } from '../../architectures/table.ts'

export const configName = 'adapter_config.json'
export const weightsName = 'adapter_model.safetensors'

/** What an adapter folder is made of. */
export interface Adapted {
  adapters: ReadonlyMap<string, AdapterModule>
  config: AdapterConfig
  /** What the base model is opened by. */
  base: string
  /** Parameters of the base that were trained beside the adapters, by path. */
  whole: ReadonlyMap<string, Tensor>
  /** What the model does, as PEFT has it. Default: it is a decoder, CAUSAL_LM. */
  task?: 'CAUSAL_LM' | 'SEQ_2_SEQ_LM'
}

/** Tensors, by what a file calls them. */
export type Take = (name: string) => Tensor

export interface AdapterLayout {
  /** `peft_type` of adapter_config.json. */
  peftType: string
  /** Why no model of its own can have such an adapter merged in; null: it can. */
  whyApart: string | null
  /** The base that a folder names, if it names one. @throws FormatError for settings that are not known here */
  baseOf(folder: string): string | null
  /** adapter_config.json, and the adapters' tensors by name. */
  describe(adapted: Adapted): { config: object; tensors: Map<string, Tensor> }
  /** What a file calls a parameter that was trained beside. */
  nameOfWhole(path: string): string
  /** Copies into adapters what describe() gave of the same ones. */
  fill(adapters: ReadonlyMap<string, AdapterModule>, take: Take): void
  /** Makes a base what it is with the adapter. @throws FormatError listing what does not fit */
  apply(model: Module, config: AnyModelConfig, folder: string): void
}

/** @throws FormatError listing names and shapes that a file has not, or has beyond what is wanted */
export function refuseMismatch(
  wanted: ReadonlyMap<string, Tensor>,
  saved: ReadonlyMap<string, Tensor>,
  folder: string,
): void {
  const problems = [...wanted].flatMap(([name, { shape }]) => {
    const found = saved.get(name)
    if (!found) return `missing ${name}`
    return found.shape.join() === shape.join()
      ? []
      : `${name} is [${found.shape.join(', ')}], not [${shape.join(', ')}]`
  })
  for (const name of saved.keys()) if (!wanted.has(name)) problems.push(`surplus ${name}`)
  if (problems.length > 0) {
    const file = join(folder, weightsName)
    throw new FormatError(`is of another adapter: ${problems.slice(0, 8).join('; ')}`, { file })
  }
}

// Adapters that stay apart from their base, put around it as a file has them.

import { join } from 'node:path'
import type { Module } from '../../../nn/index.ts'
import { noGrad, type Tensor, tidy } from '../../../torch/index.ts'
import { type AdapterConfig, type AdapterModule, adapt } from '../../adapters/attach.ts'
import { openTensors } from '../tensor-file.ts'
import { refuseMismatch, weightsName } from './layout.ts'

export interface Attached {
  config: AdapterConfig
  /** Whether a file has an adapter of what lies at a path. */
  isAdapted(path: string, saved: ReadonlyMap<string, Tensor>): boolean
  /** All tensors of adapters, by what the file calls them. */
  tensorsOf(adapters: ReadonlyMap<string, AdapterModule>): ReadonlyMap<string, Tensor>
}

/** @throws FormatError listing what does not fit */
export function attachSaved(model: Module, folder: string, { config, isAdapted, tensorsOf }: Attached): void {
  noGrad(() =>
    tidy(() => {
      const saved = openTensors(join(folder, weightsName))
      const adapters = adapt(model, config, path => (isAdapted(path, saved) ? 'all' : null))
      const whole = [...model.stateDict()].filter(([path]) => saved.has(path))
      const wanted = new Map([...tensorsOf(adapters), ...whole])
      refuseMismatch(wanted, saved, folder)
      for (const [name, tensor] of wanted) tensor.detach().copy_(saved.get(name) as Tensor)
    }),
  )
}

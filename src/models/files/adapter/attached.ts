// Adapters that stay apart from their base, put around it as a file has them.

import { join } from 'node:path'
import { FormatError } from '../../../errors.ts'
import { declared, type Module } from '../../../nn/index.ts'
import { empty, noGrad, type Tensor, tidy } from '../../../torch/index.ts'
import { type AdapterConfig, type AdapterModule, adapt } from '../../adapters/attach.ts'
import { openTensors } from '../tensor-file.ts'
import { configName, refuseMismatch, weightsName } from './layout.ts'

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
      const adapters = declared(() => adapt(model, config, path => (isAdapted(path, saved) ? 'all' : null)))
      makeFrom(adapters, saved, folder)
      const whole = [...model.stateDict()].filter(([path]) => saved.has(path))
      const wanted = new Map([...tensorsOf(adapters), ...whole])
      refuseMismatch(wanted, saved, folder)
      for (const [name, tensor] of wanted) tensor.detach().copy_(saved.get(name) as Tensor)
    }),
  )
}

/** Gives adapters their memory. @throws FormatError, before any is taken, where settings want more numbers than the file has */
function makeFrom(
  adapters: ReadonlyMap<string, AdapterModule>,
  saved: ReadonlyMap<string, Tensor>,
  folder: string,
): void {
  const parameters = [...adapters.values()].flatMap(adapter =>
    adapter.parameters().filter(({ declaration }) => declaration.role === 'adapter'),
  )
  const sizeOf = (shape: readonly number[]): number => shape.reduce((size, length) => size * length, 1)
  const wanted = parameters.reduce((sum, { declaration }) => sum + sizeOf(declaration.shape), 0)
  const found = [...saved.values()].reduce((sum, { numel }) => sum + numel, 0)
  if (wanted > found)
    throw new FormatError(
      `has ${found} numbers, and ${configName} wants ${wanted}: they are not of one adapter`,
      {
        file: join(folder, weightsName),
      },
    )
  for (const parameter of parameters) parameter.make(empty(parameter.declaration.shape))
}

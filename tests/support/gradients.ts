// Gradients against finite differences, in f64.
import { expect } from 'vitest'
import { type AdapterModule, adapterSchema, attachAdapters, type TextModel } from '../../src/models/index.ts'
import type { Module } from '../../src/nn/index.ts'
import { manualSeed, noGrad, randn, type Tensor, tidy } from '../../src/torch/index.ts'
import { TrainedParameters } from '../../src/train/trained/trained.ts'

const step = 1e-6

/**
 * Central differences along a random direction of each parameter: the error is of the order of `step^2`, and of 1e-16 over `step`
 * where numbers are rounded. Routers choose the same experts on both sides but for ties, of which there are none.
 *
 * @param loss of the model as it is
 * @param isTrained whether a parameter has a gradient at all. Default: all have
 */
export function expectTrueGradients(
  model: Module,
  loss: () => Tensor,
  isTrained: (path: string) => boolean = () => true,
): void {
  loss().backward()
  manualSeed(1)
  for (const [path, parameter] of model.namedParameters()) {
    if (!isTrained(path)) {
      expect(parameter.grad, path).toBeNull()
      continue
    }
    const direction = randn(parameter.shape, { dtype: 'f64' })
    const at = (scale: number): number =>
      noGrad(() => {
        parameter.detach().add_(direction, scale)
        const value = tidy(() => loss().item())
        parameter.detach().add_(direction, -scale)
        return value
      })
    const difference = (at(step) - at(-step)) / (2 * step)
    expect.soft(parameter.grad?.mul(direction).sum().item() ?? 0, path).toBeCloseTo(difference, 6)
  }
}

/** Random values in place of the zeros that adapters start with. */
export function disturbAdapters(adapters: ReadonlyMap<string, AdapterModule>): void {
  manualSeed(5)
  noGrad(() => {
    for (const adapter of adapters.values())
      for (const parameter of adapter.parameters())
        if (parameter.declaration.role === 'adapter')
          parameter.detach().copy_(randn(parameter.shape).mul(0.1).double())
  })
}

/** Attaches adapters; these alone have gradients then, which are those of finite differences. */
export function expectTrueAdapterGradients(model: TextModel, loss: () => Tensor): void {
  const adapters = attachAdapters(model, adapterSchema.parse({ on: 'attention,experts' }))
  model.to('f64').eval()
  disturbAdapters(adapters)
  const { parameters } = new TrainedParameters(model, ['adapter'])
  expect([...parameters.keys()].every(path => path.includes('.lora_'))).toBe(true)
  expectTrueGradients(model, loss, path => parameters.has(path))
}

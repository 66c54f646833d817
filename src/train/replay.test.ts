import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { type KernelName, kernelNames, withKernels } from '../torch/index.ts'
import { replayTraining } from './replay.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../tests/fixtures/${name}`, import.meta.url))
const folder = fixture('train_mixtral')
const reference = join(folder, 'reference.safetensors')

test('20 steps and the first gradients equal those of Hugging Face transformers within 1e-5', () => {
  const checks = replayTraining(folder, reference, 1e-5)
  expect(checks.length).toBe(3 + 21) // three curves, 21 gradients
  expect(checks.filter(check => !check.ok)).toEqual([])
})

test.each(['olmoe', 'qwen3_moe'])(
  '%s: 20 steps and the first gradients equal those of plain PyTorch within 1e-5',
  name => {
    const checks = replayTraining(fixture(name), join(fixture(name), 'training.safetensors'), 1e-5)
    expect(checks.length).toBeGreaterThan(3 + 20)
    expect(checks.filter(check => !check.ok)).toEqual([])
  },
)

test('switch_transformers: 20 steps and the first gradients equal those of plain PyTorch within 1e-5', () => {
  const name = fixture('switch_transformers')
  const checks = replayTraining(name, join(name, 'training.safetensors'), 1e-5)
  expect(checks.length).toBe(4 + 109) // four curves, a gradient for each tensor of the file but for eight
  expect(checks.filter(check => !check.ok)).toEqual([])
})

test('another model does not repeat the run', () => {
  const checks = replayTraining(fixture('mixtral'), reference, 1e-3)
  expect(checks.every(check => check.ok)).toBe(false)
})

test('a reference of another kind is refused by name', () => {
  const logits = join(fixture('mixtral'), 'reference.safetensors')
  expect(() => replayTraining(folder, logits, 1e-6)).toThrow(
    "holds no tensor 'batches' (it has generated, input_ids, logits)",
  )
})

test('the recorded run repeats with kernels and without', () => {
  const losses = (names: readonly KernelName[]): number[] =>
    withKernels(names, () => replayTraining(folder, reference, 1e-5).map(check => check.relative))
  for (const relative of [...losses(kernelNames), ...losses([])]) expect(relative).toBeLessThan(1e-5)
})

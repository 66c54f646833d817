// Whole models on a GPU against the same on the CPU; without a GPU there is nothing to run.

import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { generateBatch, openModel } from '../../src/models/index.ts'
import { profile, randint, runtimeInfo, tidy } from '../../src/torch/index.ts'
import { AdamW, batchOf, computeObjective } from '../../src/train/index.ts'
import { lossesSchema } from '../../src/train/objective.ts'
import { trainStep } from '../../src/train/step.ts'

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))
const names = ['mixtral', 'olmoe', 'qwen2_moe', 'qwen3_moe', 'deepseek_v3', 'granitemoe']

describe.skipIf(!runtimeInfo().cuda).each(names)('%s on CUDA', name => {
  const ids = randint(0, 60, [2, 13], { seed: 1 })

  test('has the loss and the gradients of the CPU, in f32', () => {
    const [there, here] = (['cuda', 'cpu'] as const).map(device =>
      tidy(() => {
        const model = openModel(fixture(name)).load({ kind: 'decoder', device })
        const at = ids.to(device)
        const batch = batchOf({
          inputs: at.narrow(1, 0, 12).contiguous(),
          targets: at.narrow(1, 1, 12).contiguous(),
        })
        const { total } = computeObjective(model.train(), batch, lossesSchema.parse({}))
        total.backward()
        const gradients = [...model.namedParameters()].map(
          ([path, parameter]) => [path, parameter.grad?.to('cpu').double().clone() ?? null] as const,
        )
        model.dispose()
        return { loss: total.item(), gradients: new Map(gradients) }
      }),
    )
    // Sums of some hundreds of f32 terms, through a few layers and back: parts in 10^5 of the whole.
    expect(Math.abs(there!.loss / here!.loss - 1)).toBeLessThan(1e-5)
    for (const [path, wanted] of here!.gradients) {
      const got = there!.gradients.get(path) ?? null
      if (wanted === null || got === null) expect(got, path).toBe(wanted)
      else expect(got.sub(wanted).norm().item(), path).toBeLessThanOrEqual(1e-4 * wanted.norm().item() + 1e-9)
    }
  })

  test('writes what the CPU writes, step by captured step', async () => {
    const written = await Promise.all(
      (['cuda', 'cpu'] as const).map(async device => {
        const model = openModel(fixture(name)).load({ kind: 'decoder', device })
        const options = { temperature: 0, maxNewTokens: 16, stopIds: [] }
        const texts: number[][] = [[], []]
        for await (const { text, id } of generateBatch(
          model,
          [
            [5, 6, 7, 8],
            [9, 10],
          ],
          options,
        ))
          texts[text]?.push(id)
        model.dispose()
        return texts
      }),
    )
    expect(written[0]).toEqual(written[1])
  })

  test('trains in bf16 without waiting for the device', () => {
    const model = openModel(fixture(name)).load({ kind: 'decoder', device: 'cuda', dtype: 'bf16' })
    model.train()
    const group = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay: 0 }
    const optimizer = new AdamW([group], { betas: [0.9, 0.95], epsilon: 1e-8 })
    const at = ids.to('cuda')
    const batch = batchOf({
      inputs: at.narrow(1, 0, 12).contiguous(),
      targets: at.narrow(1, 1, 12).contiguous(),
    })
    const options = { losses: lossesSchema.parse({}), learningRate: 1e-3, clip: 1 }
    const step = (observe: boolean) =>
      tidy(() => trainStep(model, optimizer, [batch], { ...options, observe }))
    const first = step(true).losses?.crossEntropy ?? 0
    const waiting = profile(() => void step(false)).filter(row => row.name === 'aten::_local_scalar_dense')
    // Widths of the fixtures that are no multiple of 8 take the loop over experts, which reads the counts.
    if (name === 'mixtral' || name === 'olmoe') expect(waiting).toEqual([])
    for (let i = 0; i < 20; i++) step(false)
    expect(step(true).losses?.crossEntropy).toBeLessThan(first)
    model.dispose()
    optimizer.dispose()
  })
})

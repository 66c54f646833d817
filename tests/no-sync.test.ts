// On CUDA a training step and a decoding step must not make the host wait for the device, nor copy from the host: each would
// leave the device idle, and could not be captured in a graph. Which operators do is known by name, so that it shows on a CPU:
// there the kernels of the CPU stand where CUDA's own stand.

import { describe, expect, test, vi } from 'vitest'
import {
  type CausalLM,
  createModel,
  type MixtralConfig,
  parseModelConfig,
  type SwitchyardMoeConfig,
} from '../src/models/index.ts'
import { StaticCache } from '../src/nn/index.ts'
import {
  inferenceMode,
  kernelNames,
  manualSeed,
  profile,
  randint,
  tensor,
  tidy,
  withKernels,
  zeros,
} from '../src/torch/index.ts'
import { native } from '../src/torch/native.ts'
import { AdamW, batchOf, computeObjective, gradientNorm } from '../src/train/index.ts'
import { lossesSchema } from '../src/train/objective.ts'
import { tinySizes } from './support/tiny-sizes.ts'

/** Operators of libtorch whose result has a shape, or is a number, that the host must know. */
const isWaiting =
  /^aten::(_local_scalar_dense|item|nonzero|masked_select|bincount|unique\w*|_unique\w*|equal|is_nonzero)$/

/** The operators that wait, and how many tensors were made from numbers of the host. */
function waits(body: () => unknown): string[] {
  const copies = vi.spyOn(native(), 'fromBytes')
  try {
    const seen = profile(() => tidy(body))
    expect(seen.length).toBeGreaterThan(3)
    const waiting = seen.map(({ name }) => name).filter(name => isWaiting.test(name))
    return [...waiting, ...copies.mock.calls.map(() => 'a copy from the host')]
  } finally {
    copies.mockRestore()
  }
}

function mixtral(): CausalLM {
  manualSeed(1)
  const config = parseModelConfig({ model_type: 'mixtral', num_experts_per_tok: 2, ...tinySizes }, 'test')
  return createModel(config as MixtralConfig)
}

const ids = randint(0, 40, [4, 17], { seed: 1 })
const batch = batchOf({
  inputs: ids.narrow(1, 0, 16).contiguous(),
  targets: ids.narrow(1, 1, 16).contiguous(),
})

describe('nothing waits for the device', () => {
  test('and what would is seen', () => {
    const x = zeros([3])
    const seen = waits(() => [x.add(1).nonzero(), x.sum().item(), x.mul(tensor([2]))])
    expect(new Set(seen)).toEqual(
      new Set(['aten::nonzero', 'aten::_local_scalar_dense', 'aten::item', 'a copy from the host']),
    )
  })

  // The CPU's head and loss read the factor of their gradient; by chunks, as on CUDA, they do not (tests/composed.test.ts).
  const kernels = kernelNames.filter(name => name !== 'linearCrossEntropy')
  const train = (model: CausalLM, losses: unknown): string[] =>
    waits(() =>
      withKernels(kernels, () => computeObjective(model, batch, lossesSchema.parse(losses)).total.backward()),
    )

  test('from a batch to its gradients, with balance and z losses', () => {
    expect(train(mixtral(), {})).toEqual([])
  })

  test('in the update, half precision and clipping included', () => {
    const model = mixtral().to('bf16')
    const group = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay: 0 }
    using optimizer = new AdamW([group], { betas: [0.9, 0.95], epsilon: 1e-8 })
    tidy(() => computeObjective(model, batch, lossesSchema.parse({})).total.backward())
    optimizer.prepare(1e-3)
    optimizer.move()
    const kernel = 'aten::_local_scalar_dense' // the CPU's own adamw_mixed_ reads the norm; CUDA's leaves it where it is
    const seen = waits(() => optimizer.move({ norm: gradientNorm(model.parameters()), clip: 1 }))
    expect(seen.filter(name => name !== kernel && name !== 'aten::item')).toEqual([])
  })

  test('in a decoding step', () => {
    const model = mixtral().eval()
    inferenceMode(() => {
      using cache = new StaticCache(model, { sequences: 2, capacity: 8 })
      const ids = zeros([2], { dtype: 'i64' })
      const step = (): void =>
        void cache.step(() =>
          model.forward({ ids, starts: [0, 1, 2], positions: cache.positions, extent: 0 }, { cache }),
        )
      const cpuAttention = waits(step) // attention_decode of the CPU reads the lengths, CUDA's does not
      expect(cpuAttention.filter(name => !/item|_local_scalar_dense/.test(name))).toEqual([])
    })
  })

  test('with a router of our own: top-k over sigmoids with a bias', () => {
    manualSeed(1)
    const router = { kind: 'biased-top-k', k: 2 } as const
    const config = parseModelConfig(
      { model_type: 'switchyard_moe', router, ...tinySizes },
      'test',
    ) as SwitchyardMoeConfig
    const model = createModel(config)
    expect(train(model, { balance: 'none' })).toEqual([])
    expect(waits(() => model.adapt())).toEqual([])
  })
})

import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../tests/support/tensors.ts'
import { tinySizes } from '../../tests/support/tiny-sizes.ts'
import {
  type CausalLM,
  createModel,
  type MixtralConfig,
  parseModelConfig,
  tokensOf,
} from '../models/index.ts'
import type { TokenRouting } from '../moe/index.ts'
import { Parameter } from '../nn/index.ts'
import {
  autocast,
  full,
  hasFastBf16,
  manualSeed,
  randint,
  randn,
  type Tensor,
  tensor,
  tidy,
} from '../torch/index.ts'
import { type Batch, batchOf, lossesSchema } from './objective.ts'
import { AdamW, type AdamWOptions } from './optimizer/adamw.ts'
import { gradientNorm } from './optimizer/clip.ts'
import {
  autocastType,
  convertWeights,
  LossScaler,
  missingPrecision,
  precisionSchema,
  productType,
  resolvePrecision,
} from './precision.ts'
import { trainStep } from './step.ts'

const betas = [0.9, 0.95] as const

function optimizerOf(parameters: ReadonlyMap<string, Parameter>, options: Partial<AdamWOptions> = {}): AdamW {
  const group = { name: 'all', parameters: new Map(parameters), scale: 1, weightDecay: 0.1 }
  return new AdamW([group], { betas, epsilon: 1e-8, ...options })
}

const one = (parameter: Parameter): Map<string, Parameter> => new Map([['p', parameter]])

describe('AdamW on weights in half precision', () => {
  test.each(['bf16', 'f16'] as const)(
    'a master of %s weights moves as f32 weights do, and they are its rounding',
    dtype => {
      expectNoLeak(() => {
        const start = randn([50], { seed: 1 }).to(dtype)
        using half = new Parameter(start.clone())
        using wide = new Parameter(start.float())
        using optimizer = optimizerOf(one(half))
        using reference = optimizerOf(one(wide))
        for (let seed = 2; seed < 8; seed++) {
          half.grad = randn([50], { seed }).to(dtype)
          wide.grad = half.grad.float()
          const scaling = { norm: gradientNorm([half]), clip: 0.5 }
          optimizer.update(0.01, scaling)
          reference.update(0.01, scaling)
        }
        const master = optimizer.state().get('master.p')!
        // Six steps of a few roundings (2^-24 each) of numbers up to 4, and of quotients up to a few units.
        expectClose(master, wide, 1e-5)
        expect(half.equal(master.to(dtype))).toBe(true)
        expect(optimizer.state().get('exp_avg.p')?.dtype).toBe('f32')
      })
    },
  )

  test('without a master small updates add up on average, where rounding to nearest would lose them', () => {
    const count = 20_000
    using parameter = new Parameter(full([count], 1, { dtype: 'bf16' }))
    const group = { name: 'all', parameters: one(parameter), scale: 1, weightDecay: 0 }
    using optimizer = new AdamW([group], { betas, epsilon: 1e-8, master: false, moments: 'bf16' })
    const [steps, rate] = [10, 2 ** -13] // bf16 below 1 has steps of 2^-8
    for (let i = 0; i < steps; i++) {
      parameter.grad = full([count], 1, { dtype: 'bf16' })
      optimizer.update(rate) // a steady gradient moves a weight by the rate
    }
    const moved = 1 - parameter.double().mean().item()
    // A weight lies on one of two neighbours 2^-8 apart: a standard deviation of at most half of that; five errors of the
    // mean. Moments in bf16 are off by up to 2^-9 each.
    expect(Math.abs(moved - steps * rate)).toBeLessThan(
      (5 * 2 ** -9) / Math.sqrt(count) + steps * rate * 2 ** -7,
    )
    expect(optimizer.state().get('exp_avg_sq.p')?.dtype).toBe('bf16')
    expect(optimizer.state().has('master.p')).toBe(false)
  })

  test('squares in bf16 follow those in f32 on average, although each step changes them by less than a rounding', () => {
    const averages = (['f32', 'bf16'] as const).map(moments => {
      using parameter = new Parameter(full([5000], 1, { dtype: 'bf16' }))
      const group = { name: 'all', parameters: one(parameter), scale: 1, weightDecay: 0 }
      using optimizer = new AdamW([group], { betas: [0.9, 0.999], epsilon: 1e-8, moments })
      for (let i = 0; i < 40; i++) {
        parameter.grad = full([5000], i === 0 ? 1 : 0, { dtype: 'bf16' }) // from then on v shrinks by 0.1% a step
        optimizer.update(0)
      }
      return optimizer.state().get('exp_avg_sq.p')!.double().mean().item()
    }) as [number, number]
    // Nearest rounding would keep the first value, 4% above. Each of 39 roundings errs by up to 2^-8 of the value.
    expect(Math.abs(averages[1] / averages[0] - 1)).toBeLessThan(
      (5 * Math.sqrt(39) * 2 ** -8) / Math.sqrt(5000),
    )
  })

  test('a norm that is not finite moves nothing', () => {
    using parameter = new Parameter(randn([8], { seed: 1 }).to('bf16'))
    using optimizer = optimizerOf(one(parameter))
    const before = parameter.detach().clone()
    parameter.grad = full([8], Number.NaN, { dtype: 'bf16' })
    optimizer.update(0.1, { norm: gradientNorm([parameter]), clip: 1 })
    expect(parameter.equal(before)).toBe(true)
  })

  test('an f32 router beside half-precision weights is moved in the same step', () => {
    const parameters = new Map([
      ['router', new Parameter(randn([6], { seed: 1 }))],
      ['expert', new Parameter(randn([6], { seed: 1 }).to('bf16'))],
    ])
    using optimizer = optimizerOf(parameters)
    for (const parameter of parameters.values()) parameter.grad = randn([6], { seed: 2 }).to(parameter.dtype)
    const before = [...parameters.values()].map(parameter => parameter.detach().clone())
    optimizer.update(0.1, { norm: gradientNorm([...parameters.values()]), clip: 1 })
    for (const [i, parameter] of [...parameters.values()].entries()) {
      expect(parameter.equal(before[i]!)).toBe(false)
    }
    expect([...optimizer.state().keys()].filter(name => name.startsWith('master'))).toEqual(['master.expert'])
    for (const parameter of parameters.values()) parameter.dispose()
  })

  test('what has no meaning is refused', () => {
    using parameter = new Parameter(tensor([1]).to('f16'))
    expect(() => optimizerOf(one(parameter), { master: false })).toThrow(
      'precision.master: f16 weights need an f32 master copy',
    )
    expect(() => optimizerOf(one(parameter), { updateClip: 1 })).toThrow(
      'optimizer.updateClip: is not known for weights in half precision',
    )
  })
})

test('a loss scale halves on overflow and doubles after steps without one', () => {
  const scaler = new LossScaler({ initial: 8, growthInterval: 2 })
  const scales = [true, true, true, false, true, true].map(finite => {
    scaler.note(finite)
    return scaler.scale
  })
  expect(scales).toEqual([8, 16, 16, 8, 8, 16])
})

describe('what a device computes in', () => {
  const of = (kind: string, dtype?: string) => precisionSchema.parse({ kind, ...(dtype && { dtype }) })
  const fast = hasFastBf16()

  test('is as asked on CUDA', () => {
    expect(resolvePrecision(of('auto'), 'cuda')).toEqual(of('autocast'))
    expect(productType(of('autocast', 'f16'), 'cuda')).toBe('f16')
    expect(missingPrecision(of('autocast', 'f16'), 'cuda')).toBeNull()
  })

  test('is bf16 on a CPU only where the processor has it', () => {
    expect(resolvePrecision(of('auto'), 'cpu')).toEqual(of(fast ? 'autocast' : 'f32'))
    expect(autocastType(of('autocast'), 'cpu')).toBe(fast ? 'bf16' : null)
    expect(missingPrecision(of('autocast'), 'cpu') === null).toBe(fast)
  })

  test('is never f16 on a CPU, which is said', () => {
    expect(productType(of('autocast', 'f16'), 'cpu')).toBe('f32')
    expect(missingPrecision(of('autocast', 'f16'), 'cpu')).toMatch(
      /computed in f32: .* no instructions for f16/,
    )
  })

  test('stays what it was when nothing is left open', () => {
    for (const kind of ['f32', 'half', 'autocast']) {
      expect(resolvePrecision(of(kind), 'cpu')).toEqual(of(kind))
    }
  })
})

describe('a model', () => {
  const config = parseModelConfig(
    {
      model_type: 'mixtral',
      ...tinySizes,
      num_experts_per_tok: 2,
    },
    'test',
  ) as MixtralConfig

  const fresh = (): CausalLM => {
    manualSeed(1)
    return createModel(config)
  }

  function batch(seed: number): Batch {
    const ids = randint(0, 40, [4, 17], { seed })
    return batchOf({ inputs: ids.narrow(1, 0, 16), targets: ids.narrow(1, 1, 16) })
  }

  const options = { losses: lossesSchema.parse({}), learningRate: 0.01, clip: 1, observe: true }

  test.each(['half', 'autocast'] as const)(
    'trains in bf16 (%s) near to f32, its router in f32',
    narrowing => {
      const losses = (['f32', narrowing] as const).map(kind => {
        using model = fresh()
        convertWeights(model, precisionSchema.parse({ kind }), 'cpu')
        using optimizer = optimizerOf(model.namedParameters())
        const types = new Set(model.parameters().map(({ dtype }) => dtype))
        expect([...types].sort()).toEqual(kind === 'half' ? ['bf16', 'f32'] : ['f32'])
        const autocast = kind === 'autocast' ? 'bf16' : null
        return Array.from({ length: 12 }, () => {
          const step = tidy(() => trainStep(model, optimizer, [batch(3)], { ...options, autocast }))
          return step.losses?.crossEntropy ?? Number.NaN
        })
      }) as [number[], number[]]
      const [wide, narrow] = losses
      expect(wide.at(-1)!).toBeLessThan(0.9 * wide[0]!)
      expect(narrow).not.toEqual(wide)
      // Logits of order one are off by a few roundings of 2^-9; 64 targets of both signs average.
      for (const [i, loss] of wide.entries()) expect(Math.abs(loss - narrow[i]!)).toBeLessThan(0.05)
    },
  )

  test('under autocast routes in f32, and repeats to the last bit', () => {
    const runs = [1, 2].map(() => {
      using model = fresh()
      using optimizer = optimizerOf(model.namedParameters())
      const seen: string[] = []
      const steps = [1, 2, 3].map(seed =>
        tidy(() => {
          const { losses } = trainStep(model, optimizer, [batch(seed)], { ...options, autocast: 'bf16' })
          return losses?.total
        }),
      )
      tidy(() =>
        autocast('cpu', 'bf16', () => {
          const { routings } = model.forward(tokensOf(randint(0, 40, [2, 8], { seed: 9 })))
          for (const { chosen } of routings) seen.push((chosen as TokenRouting).logits.dtype)
        }),
      )
      expect(new Set(seen)).toEqual(new Set(['f32']))
      return steps
    })
    expect(runs[0]).toEqual(runs[1])
  })

  test('a loss scale changes no update: auxiliary losses are scaled with the rest', () => {
    const trained = [null, new LossScaler({ initial: 2 ** 10, growthInterval: 100 })].map(lossScaler => {
      const model = fresh().to('f64')
      using optimizer = optimizerOf(model.namedParameters())
      const scaled = {
        ...options,
        losses: lossesSchema.parse({ z: 0.1, balance: { coefficient: 0.5 } }),
        lossScaler,
      }
      const { gradientNorm: norm } = trainStep(model, optimizer, [batch(1), batch(2)], scaled)
      return { model, norm }
    })
    const [plain, scaled] = trained as [(typeof trained)[0], (typeof trained)[0]]
    expect(scaled.norm).toBeCloseTo(plain.norm ?? 0, 12)
    for (const [name, parameter] of plain.model.namedParameters())
      expectClose(scaled.model.namedParameters().get(name) as Tensor, parameter, 1e-12)
  })

  test('a bad step makes the optimizer no older: the next is its first', () => {
    using model = fresh().to('bf16')
    using optimizer = optimizerOf(model.namedParameters())
    const good = model.model.norm.weight.detach().clone()
    model.model.norm.weight.detach().fill_(Number.NaN)
    expect(tidy(() => trainStep(model, optimizer, [batch(1)], options).updated)).toBe(false)
    expect(optimizer.step).toBe(0)
    model.model.norm.weight.detach().copy_(good)
    expect(tidy(() => trainStep(model, optimizer, [batch(1)], options).updated)).toBe(true)
    expect(optimizer.step).toBe(1)
  })

  test('f16 weights are refused on a CPU', () => {
    using model = fresh()
    expect(() => convertWeights(model, precisionSchema.parse({ kind: 'half', dtype: 'f16' }), 'cpu')).toThrow(
      'precision.dtype: f16 needs CUDA',
    )
  })
})

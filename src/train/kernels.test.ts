import { expect, test } from 'vitest'
import { createModel, type MixtralConfig, parseModelConfig } from '../models/index.ts'
import {
  chooseGemm,
  type DType,
  gemmChoice,
  gemmLibraries,
  type KernelName,
  kernelNames,
  manualSeed,
  memoryUse,
  randint,
  setThreads,
  tidy,
  withKernels,
} from '../torch/index.ts'
import { batchOf, lossesSchema } from './objective.ts'
import { AdamW } from './optimizer/adamw.ts'
import { trainStep } from './step.ts'

const config = parseModelConfig(
  {
    model_type: 'mixtral',
    vocab_size: 64,
    hidden_size: 32,
    intermediate_size: 32,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    num_local_experts: 4,
    num_experts_per_tok: 2,
  },
  'test',
) as MixtralConfig

/** A fresh model's losses, step after step, each on a batch of its own. */
function* training(length = 33, dtype: DType = 'f32'): Generator<number> {
  manualSeed(1)
  using model = createModel(config).to(dtype)
  const group = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay: 0.1 }
  using optimizer = new AdamW([group], { betas: [0.9, 0.95], epsilon: 1e-8 })
  const options = { losses: lossesSchema.parse({}), learningRate: 3e-3, clip: 1, observe: true }
  for (let seed = 0; ; seed++) {
    yield tidy(() => {
      const ids = randint(0, 16, [4, length + 1], { seed })
        .square() // squares below 16^2 are no uniform noise
        .remainder(64)
      const batch = batchOf({ inputs: ids.narrow(1, 0, length), targets: ids.narrow(1, 1, length) })
      return trainStep(model, optimizer, [batch], options).losses?.total ?? Number.NaN
    })
  }
}

function losses(
  steps: number,
  kernels: readonly KernelName[] = kernelNames,
  threads = 1,
  dtype: DType = 'f32',
): number[] {
  setThreads(threads)
  try {
    return withKernels(kernels, () => [...take(training(33, dtype), steps)])
  } finally {
    setThreads(1)
  }
}

function* take<T>(source: Generator<T>, count: number): Generator<T> {
  for (let i = 0; i < count; i++) yield source.next().value as T
  source.return(undefined)
}

function expectRelative(actual: readonly number[], wanted: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(wanted.length)
  for (const [i, loss] of actual.entries()) {
    expect(Math.abs(loss - (wanted[i] ?? 0)) / (wanted[i] ?? 0)).toBeLessThan(tolerance)
  }
}

test.each(gemmLibraries())(
  '20 losses of f32 training equal the reference paths within 1e-5: products by %s',
  library => {
    const wanted = losses(20, [])
    expect(wanted.at(-1)).toBeLessThan((wanted[0] ?? 0) - 0.5) // it learns: steps matter
    const before = gemmChoice()
    chooseGemm(library)
    try {
      expectRelative(losses(20), wanted, 1e-5)
    } finally {
      chooseGemm(before)
    }
  },
)

test('each kernel alone does too', () => {
  const wanted = losses(5, [])
  for (const name of kernelNames) expectRelative(losses(5, [name]), wanted, 1e-5)
})

test.each([1, 2])('the same losses from run to run on %i threads, to the last bit', threads => {
  const first = losses(10, kernelNames, threads)
  for (let run = 0; run < 3; run++) expect(losses(10, kernelNames, threads)).toEqual(first)
})

// In f64, where twenty steps do not make the rounding of sums in another order (1e-16 each) visible.
test('two threads compute what one does', () =>
  expectRelative(losses(20, kernelNames, 2, 'f64'), losses(20, kernelNames, 1, 'f64'), 1e-11))

test('2,000 steps leak neither handles nor native bytes nor resident memory', () => {
  const run = training(8)
  const resident = (): number => {
    global.gc?.()
    const { rss, heapTotal } = process.memoryUsage()
    return rss - heapTotal
  }
  for (let i = 0; i < 1000; i++) run.next() // until the heap has its size
  const [before, residentBefore] = [memoryUse(), resident()]
  for (let i = 0; i < 2000; i++) run.next()
  const after = memoryUse()
  expect(after.tensors).toBe(before.tensors)
  // The smallest block lost per step would be 2,000 x 24 bytes; where a block lies changes its size by some of them.
  expect(after.bytes - before.bytes).toBeLessThan(2000 * 24)
  // What a step computes on is 600 kB; 2 kB lost per step would show. JavaScript's heap, which grows and shrinks
  // by itself, is left out.
  // ASan keeps what was freed.
  if (!process.env.ASAN_OPTIONS) expect(resident() - residentBefore).toBeLessThan(4e6)
  run.return(undefined)
})

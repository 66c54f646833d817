import { expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { GatedExperts, MoeLayer, PeerLayer, TaskRouter, withSharedExpert } from '../../moe/index.ts'
import { declared, Embedding, Linear, Parameter, RMSNorm } from '../../nn/index.ts'
import { kernelNames, randn, type Tensor, tensor, tidy, withKernels } from '../../torch/index.ts'
import { learningRateFactor } from '../schedule.ts'
import { AdamW } from './adamw.ts'
import { clipGradients, gradientNorm } from './clip.ts'
import { groupNames, groupsSchema, parameterGroups } from './groups.ts'
import { createOptimizer, optimizerSchema } from './table.ts'

const betas = [0.9, 0.95] as const

/** The formula, one number at a time. */
function scalarAdamW(start: number, gradients: number[], lr: number, decay: number): number {
  let [p, m, v] = [start, 0, 0]
  gradients.forEach((g, i) => {
    m = 0.9 * m + 0.1 * g
    v = 0.95 * v + 0.05 * g * g
    p -= lr * decay * p
    p -= (lr * (m / (1 - 0.9 ** (i + 1)))) / (Math.sqrt(v / (1 - 0.95 ** (i + 1))) + 1e-8)
  })
  return p
}

test.each([
  ['the kernel', kernelNames],
  ['the reference', []],
])('AdamW by %s follows its formula, with decay apart from the gradient', (_, names) => {
  const parameter = new Parameter(tensor([1, -2, 3], { dtype: 'f64' }))
  const optimizer = new AdamW(
    [{ name: 'all', parameters: new Map([['p', parameter]]), scale: 0.5, weightDecay: 0.1 }],
    { betas, epsilon: 1e-8 },
  )
  const gradients = Array.from({ length: 5 }, (_, i) => randn([3], { dtype: 'f64', seed: i }))
  for (const gradient of gradients) {
    parameter.grad = gradient
    withKernels(names, () => optimizer.update(0.2, { lossScale: 2 }))
  }
  const wanted = [1, -2, 3].map((start, i) =>
    scalarAdamW(
      start,
      gradients.map(g => ((g.tolist() as number[])[i] ?? 0) / 2),
      0.1,
      0.1,
    ),
  )
  expectClose(parameter, tensor(wanted, { dtype: 'f64' }), 1e-12)
})

test("an update's root mean square is held at its clip, in its direction; a clip beyond it changes nothing", () => {
  /** How a parameter moves in a second step whose gradient is twenty times that of the first. */
  const move = (updateClip: number | null): Tensor => {
    const parameter = new Parameter(tensor([0, 0, 0], { dtype: 'f64' }))
    const group = { name: 'all', parameters: new Map([['p', parameter]]), scale: 1, weightDecay: 0 }
    const optimizer = new AdamW([group], { betas, epsilon: 1e-8, updateClip })
    parameter.grad = tensor([1, -2, 3], { dtype: 'f64' })
    optimizer.update(0) // fills the moments, moves nothing
    parameter.grad = tensor([20, 5, -60], { dtype: 'f64' })
    optimizer.update(0.5)
    return parameter.detach()
  }
  const [free, held] = [move(null), move(0.1)]
  const rms = (x: Tensor): number => x.square().mean().sqrt().item()
  expect(rms(free)).toBeGreaterThan(0.5 * 0.1)
  expect(rms(held)).toBeCloseTo(0.5 * 0.1, 12)
  expectClose(held.div(rms(held)), free.div(rms(free)), 1e-12)
  expectClose(move(100), free, 1e-12)
})

test('a parameter without a gradient neither moves nor decays', () => {
  const [moved, idle] = [new Parameter(tensor([1])), new Parameter(tensor([1]))]
  const optimizer = new AdamW(
    [
      {
        name: 'all',
        parameters: new Map([
          ['a', moved],
          ['b', idle],
        ]),
        scale: 1,
        weightDecay: 0.1,
      },
    ],
    { betas, epsilon: 1e-8 },
  )
  moved.grad = tensor([1])
  optimizer.update(0.1)
  expect(moved.item()).toBeLessThan(1)
  expect(idle.item()).toBe(1)
})

test('an update leaks nothing, and dispose frees the moments', () => {
  expectNoLeak(() => {
    const parameter = new Parameter(tensor([1, 2]))
    const optimizer = new AdamW(
      [{ name: 'all', parameters: new Map([['p', parameter]]), scale: 1, weightDecay: 0 }],
      { betas, epsilon: 1e-8 },
    )
    for (let i = 0; i < 3; i++) {
      tidy(() => {
        parameter.grad = tensor([1, 1])
        optimizer.update(0.1)
      })
    }
    optimizer.dispose()
    parameter.dispose()
  })
})

test('the norm of gradients is the same by kernel and reference, over several tensors and many elements', () => {
  const parameters = [70_000, 3, 1].map(length => new Parameter(tensor(new Array(length).fill(0))))
  for (const [i, parameter] of parameters.entries()) parameter.grad = randn(parameter.shape, { seed: i })
  const reference = withKernels([], () => gradientNorm(parameters).item())
  // The reference sums 70,003 squares in f32, in blocks: a few units of 6e-8.
  expect(Math.abs(gradientNorm(parameters).item() / reference - 1)).toBeLessThan(1e-6)
})

test('clipping scales the whole gradient to the allowed norm, and only a larger one', () => {
  const parameters = [new Parameter(tensor([0, 0])), new Parameter(tensor([0])), new Parameter(tensor([0]))]
  parameters[0]!.grad = tensor([3, 0])
  parameters[1]!.grad = tensor([4])
  expect(gradientNorm(parameters).item()).toBe(5)
  clipGradients(parameters, 5, 10)
  expect(gradientNorm(parameters).item()).toBe(5)
  clipGradients(parameters, 5, 1)
  expect(gradientNorm(parameters).item()).toBeCloseTo(1, 5)
})

test('roles tell the parameter groups apart', () => {
  const sizes = { hiddenSize: 8, numExperts: 4 }
  const modules = declared(() => ({
    'layers.0': new RMSNorm(8),
    'layers.1': withSharedExpert(
      new MoeLayer(
        new TaskRouter({ ...sizes, topK: 2, numTasks: 3 }),
        new GatedExperts({ ...sizes, intermediateSize: 4 }),
      ),
      { hiddenSize: 8, intermediateSize: 4, gated: true },
    ),
    'layers.2': new PeerLayer({ ...sizes, topK: 2, querySize: 4 }),
    embed_tokens: new Embedding(10, 8),
    lm_head: new Linear(8, 10, { bias: false, role: 'head' }),
  }))
  const parameters = new Map(
    Object.entries(modules).flatMap(([path, module]) =>
      [...module.namedParameters()].map(([name, parameter]) => [`${path}.${name}`, parameter] as const),
    ),
  )
  const groups = parameterGroups(parameters, groupsSchema.parse({}), 0.1)
  expect(groups.map(({ name, weightDecay }) => [name, weightDecay])).toEqual(
    groupNames.map(name => [name, name === 'norms' ? 0 : 0.1]),
  )
  expect(groups.map(({ parameters: members }) => [...members.keys()])).toEqual([
    [
      'layers.1.gate.task_embedding.weight',
      'layers.1.gate.gate.weight',
      'layers.2.sub_keys',
      'layers.2.query.weight',
    ],
    [
      'layers.1.experts.gate_up_proj',
      'layers.1.experts.down_proj',
      'layers.2.input_weights',
      'layers.2.output_weights',
    ],
    ['layers.0.weight', 'layers.2.query_norm.weight', 'layers.2.query_norm.bias'],
    ['embed_tokens.weight'],
    [
      'layers.1.shared_expert.gate_proj.weight',
      'layers.1.shared_expert.up_proj.weight',
      'layers.1.shared_expert.down_proj.weight',
      'layers.1.shared_expert_gate.weight',
      'lm_head.weight',
    ],
  ])
})

test("a list of parameters is one group, with PyTorch's defaults for what is left out", () => {
  const run = (make: (parameter: Parameter) => AdamW, rate?: number): unknown => {
    const parameter = new Parameter(tensor([1, -2, 3], { dtype: 'f64' }))
    parameter.grad = tensor([0.1, 0.2, -0.3], { dtype: 'f64' })
    const optimizer = make(parameter)
    optimizer.update(rate)
    return parameter.tolist()
  }
  const short = run(parameter => new AdamW([parameter].values(), { learningRate: 3e-4 }))
  const long = run(
    parameter =>
      new AdamW([{ name: 'all', parameters: new Map([['p', parameter]]), scale: 1, weightDecay: 0.01 }], {
        betas: [0.9, 0.999],
        epsilon: 1e-8,
      }),
    3e-4,
  )
  expect(short).toEqual(long)
})

test('a recipe names an optimizer by its kind, and gives it every value', () => {
  const parameter = new Parameter(tensor([1]))
  const config = optimizerSchema.parse({ learningRate: 1e-3, groups: { other: { scale: 2 } } })
  const optimizer = createOptimizer(new Map([['p', parameter]]), config, { moments: 'bf16' })
  expect(optimizer).toBeInstanceOf(AdamW)
  expect((optimizer as AdamW).options).toEqual({
    learningRate: 1e-3,
    betas: [0.9, 0.95],
    epsilon: 1e-8,
    weightDecay: 0.1,
    updateClip: null,
    moments: 'bf16',
    master: true,
  })
  expect(optimizer.groups).toMatchObject([{ name: 'other', scale: 2, weightDecay: 0.1 }])
})

test('schedules: warm-up, then flat, cosine or decay at the end', () => {
  const at = (schedule: Parameters<typeof learningRateFactor>[0]) => (step: number) =>
    learningRateFactor(schedule, step, 100)
  const constant = at({ kind: 'constant', warmup: 10 })
  expect([constant(0), constant(4), constant(9), constant(50)]).toEqual([0.1, 0.5, 1, 1])
  const cosine = at({ kind: 'cosine', warmup: 0, minimum: 0.1 })
  expect([cosine(0), cosine(50), cosine(100)].map(v => Number(v.toFixed(6)))).toEqual([1, 0.55, 0.1])
  const wsd = at({ kind: 'wsd', warmup: 0, decay: 20, minimum: 0 })
  expect([wsd(0), wsd(80), wsd(90), wsd(100)]).toEqual([1, 1, 0.5, 0])
})

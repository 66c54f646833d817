import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { logitsOf } from '../../../tests/support/logits.ts'
import { runModelTests } from '../../../tests/support/model-runner.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { activeExperts, type RouterConfig, routerSchema } from '../../moe/index.ts'
import { noGrad, randint, tidy } from '../../torch/index.ts'
import {
  countParameters,
  createModel,
  declarationsOf,
  layerTable,
  openModel,
  parseModelConfig,
  type SwitchyardMoeConfig,
  saveModel,
  tokenRoutings,
  tokensOf,
} from '../index.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const fields = {
  model_type: 'switchyard_moe',
  vocab_size: 50,
  hidden_size: 16,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_local_experts: 4,
  max_position_embeddings: 32,
}
const peer = { kind: 'peer', heads: 2, k: 3, querySize: 6 }
const configOf = (router: unknown, more: object = {}): SwitchyardMoeConfig =>
  parseModelConfig({ ...fields, router, ...more }, 'test') as SwitchyardMoeConfig

describe('with top-k, experts in every other layer, and a shared one', () =>
  runModelTests(configOf({ kind: 'top-k' }, { moe_layers: [1], shared_intermediate_size: 6 })))

describe('with PEER in one layer', () =>
  runModelTests(configOf(null, { num_local_experts: 25, experts: peer, moe_layers: [0] })))

describe('with sigmoid scores and a bias', () => runModelTests(configOf({ kind: 'biased-top-k', k: 2 })))

const routers: RouterConfig[] = (
  [
    { kind: 'top-k', k: 1, normalize: false, jitter: 0.01 },
    { kind: 'noisy-top-k' },
    { kind: 'top-2', policy: 'random' },
    { kind: 'biased-top-k', groups: 2, topGroups: 1 },
    { kind: 'top-p' },
    { kind: 'null-experts', nullExperts: 3 },
    { kind: 'cosine', routingSize: 3 },
    { kind: 'hierarchical', groups: 2, topGroups: 1, k: 1 },
    { kind: 'sinkhorn' },
    { kind: 'base' },
    { kind: 'hash', hashes: 2 },
    { kind: 'words' },
    { kind: 'centroids' },
    { kind: 'reinforce' },
    { kind: 'task', tasks: ['one', 'other'] },
  ] as const
).map(router => routerSchema.parse(router))

describe.each(routers)('$kind', router => {
  const config = configOf(router)
  const ids = randint(0, 50, [2, 9], { seed: 1 })
  const tasks = randint(0, 2, [2, 9], { seed: 2 })

  test('trains, is saved with its buffers, and loads as it was', () => {
    using model = createModel(config)
    tidy(() =>
      model
        .train()
        .loss(tokensOf(ids, { tasks }), ids.reshape([-1]))
        .loss.backward(),
    )
    noGrad(() => {
      for (const parameter of model.parameters()) if (parameter.grad) parameter.sub_(parameter.grad)
    })
    model.adapt()
    const folder = mkdtempSync(join(scratch, `${router.kind}-`))
    saveModel(folder, model, config)
    const opened = openModel(folder)
    expect(opened.config).toEqual(config)
    using loaded = opened.load({ kind: 'decoder' })
    expectClose(logitsOf(loaded, ids, { tasks }), logitsOf(model.eval(), ids, { tasks }), 0)
  })

  test('its tensors are known from the config alone', () => {
    using model = createModel(config)
    const actual = [...model.stateDict()].map(([path, tensor]) => [path, tensor.shape])
    expect([...declarationsOf(config)].map(([path, { shape }]) => [path, shape])).toEqual(actual)
  })

  test('no token uses more experts than it says', () => {
    using model = createModel(config)
    const most = activeExperts(router, { hiddenSize: 16, numExperts: 4, vocabSize: 50 })
    for (const { indices } of tokenRoutings(model.eval().forward(tokensOf(ids, { tasks })).routings)) {
      expect(indices.ge(0).sum(-1).max().item()).toBeLessThanOrEqual(most)
    }
  })
})

test('the balancing bias stays f32 in a half-precision model, moves there, and is stored as it is', () => {
  const config = configOf({ kind: 'biased-top-k', biasRate: 0.001 })
  using model = createModel(config).to('bf16')
  const path = 'model.layers.1.mlp.gate.e_score_correction_bias'
  const bias = model.namedBuffers().get(path)
  noGrad(() => bias?.fill_(1)) // in bf16 a step of 0.001 from here would be lost: the next number is 1.0078
  // 18 choices of 4 experts: none has its exact share, so that every bias moves.
  tidy(() => void model.train().forward(tokensOf(randint(0, 50, [1, 9], { seed: 1 }))))
  model.adapt()
  const moved = bias?.tolist() as number[]
  expect(new Set(moved.map(value => value.toFixed(4)))).toEqual(new Set(['0.9990', '1.0010']))
  const folder = mkdtempSync(join(scratch, 'bias-'))
  saveModel(folder, model, config)
  using loaded = openModel(folder).load({ kind: 'decoder', dtype: 'bf16' })
  expect(loaded.lm_head?.weight.dtype).toBe('bf16')
  expect(loaded.namedBuffers().get(path)?.dtype).toBe('f32')
  expect(loaded.namedBuffers().get(path)?.tolist()).toEqual(moved)
})

test.each([
  [{ kind: 'expert-choice' }, {}, 'router: expert-choice routes a token by what follows it'],
  [{ kind: 'soft' }, {}, 'router: soft routes a token by what follows it'],
  [{ kind: 'sequence' }, {}, 'router: sequence routes a token by what follows it'],
  [null, {}, 'router: is missing: gated experts need one'],
  [{ kind: 'top-k' }, { experts: peer }, 'router: peer retrieves experts by product keys and has no router'],
  [
    null,
    { experts: peer, num_local_experts: 8 },
    'num_local_experts: must be a square up to 2^20, got 8; the nearest is 9',
  ],
  [
    null,
    { experts: peer, num_local_experts: 4 },
    'experts.k: must be in 1..2 (the sub-keys of each half), got 3',
  ],
  [null, { experts: { ...peer, querySize: 5 }, num_local_experts: 9 }, 'experts.querySize: must be even'],
  [
    null,
    { experts: peer, num_local_experts: 9, shared_intermediate_size: 4 },
    'shared_intermediate_size: 4, but peer has no shared expert',
  ],
  [{ kind: 'top-k' }, { moe_layers: [0, 2] }, 'moe_layers names layer 2, but there are 2'],
])('%o with %o is refused', (router, more, message) => {
  expect(() => configOf(router, more)).toThrow(message)
})

test('active parameters: dense layers are as active as layers of experts, the router aside', () => {
  const all = countParameters(configOf({ kind: 'top-k' }))
  const some = countParameters(configOf({ kind: 'top-k' }, { moe_layers: [1] }))
  expect(all.active - some.active).toBe(4 * 16) // one router
  expect(all.total - some.total).toBe(4 * 16 + 2 * 3 * 16 * 12) // and two experts that no token uses
})

test('active parameters: of PEER each head uses k neurons, two vectors each', () => {
  const config = configOf(null, { num_local_experts: 100, experts: peer })
  const { total, active } = countParameters(config)
  expect(total - active).toBe(2 * (100 - 2 * 3) * 2 * 16) // layers, experts without use, vectors, width
  expect(config.dense_intermediate_size).toBe(4) // 6 neurons of two vectors are 4 gated ones of three
})

test('PEER is a part of its own in what inspect shows', () => {
  const [, layers] = layerTable(configOf(null, { num_local_experts: 100, experts: peer }))
  expect(layers).toMatchObject({
    name: 'layers 0-1',
    parts: { router: 2 * 6 * 16 + 2 * 10 * 3, experts: 2 * 100 * 16 },
  })
})

test('dropout inside experts varies training, leaves evaluation alone, and is saved', () => {
  const config = configOf({ kind: 'top-k' }, { experts: { kind: 'gated', dropout: 0.4 } })
  using model = createModel(config)
  noGrad(() => {
    for (const parameter of model.parameters()) if (parameter.ndim > 1) parameter.mul_(5)
  })
  const ids = randint(3, 50, [1, 6], { seed: 3 })
  const difference = (): number =>
    tidy(() => logitsOf(model, ids).sub(logitsOf(model, ids)).abs().max().item())
  model.train()
  expect(difference()).toBeGreaterThan(1e-4)
  model.eval()
  expect(difference()).toBe(0)
  expect(config.experts).toEqual({ kind: 'gated', dropout: 0.4 })
})

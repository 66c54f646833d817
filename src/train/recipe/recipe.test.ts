import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { ConfigError } from '../../errors.ts'
import { checkRecipe } from './check.ts'
import { loadRecipe } from './load.ts'
import { modelConfigOf, resolveRecipe } from './model-config.ts'

const folder = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(folder, { recursive: true }))

const minimal = `
name: small
steps: 100
model: { type: mixtral, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4 }
data: { path: corpus, sequenceLength: 64, batchSize: 2 }
optimizer: { kind: adamw, learningRate: 1e-3 }
`

function recipe(overrides: string[] = []): ReturnType<typeof loadRecipe> {
  const file = join(folder, 'recipe.yaml')
  writeFileSync(file, minimal)
  return loadRecipe(file, overrides)
}

function messageOf(overrides: string[]): string {
  try {
    recipe(overrides)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message
  }
  throw new Error('was accepted')
}

const encoder = ['model.type=switchyard_moe_encoder']
const peer = ['model.type=switchyard_moe', 'model.num_local_experts=1024', 'model.experts.kind=peer']

const vocabulary = { size: 500, domains: ['en', 'code'], pad: 0, bos: 1, eos: 2 }

test('defaults fill what is left out', () => {
  const { losses, schedule, clip, optimizer } = recipe()
  expect(losses).toEqual({
    balance: { kind: 'switch', coefficient: 0.01, layers: 'sum', scope: 'batch' },
    balanceWarmup: 0,
    labelSmoothing: 0,
    router: {},
    z: { coefficient: 0.001, layers: 'sum' },
  })
  expect(schedule).toEqual({ kind: 'cosine', warmup: 0, minimum: 0.1 })
  expect(clip).toBe(1)
  expect(optimizer.groups.norms.weightDecay).toBe(0)
})

test('settings may follow a kind that stood alone', () => {
  expect(recipe(['precision=half', 'precision.master=false']).precision).toMatchObject({
    kind: 'half',
    dtype: 'bf16',
    master: false,
  })
})

test('overrides reach into groups and make new ones', () => {
  const changed = recipe([
    'optimizer.learningRate=3e-4',
    'router.kind=top-k',
    'router.k=4',
    'clip=null',
    'optimizer.betas=[0.8, 0.9]',
  ])
  expect(changed.optimizer).toMatchObject({ learningRate: 3e-4, betas: [0.8, 0.9] })
  expect(changed.router).toEqual({ kind: 'top-k', k: 4, normalize: true, jitter: 0 })
  expect(changed.clip).toBeNull()
})

test('settings without a kind are of the default kind; a kind may stand alone', () => {
  const changed = recipe([
    'router.k=4',
    'schedule.warmup=5',
    'losses.balance.coefficient=0.2',
    'dispatch=reference',
  ])
  expect(changed.router).toEqual({ kind: 'top-k', k: 4, normalize: true, jitter: 0 })
  expect(changed.schedule).toEqual({ kind: 'cosine', warmup: 5, minimum: 0.1 })
  expect(changed.losses.balance).toEqual({ kind: 'switch', coefficient: 0.2, layers: 'sum', scope: 'batch' })
  expect(changed.dispatch).toEqual({ kind: 'reference' })
  expect(recipe(['losses.balance=none']).losses.balance).toEqual({ kind: 'none' })
  expect(recipe(['optimizer={learningRate: 1}']).optimizer.kind).toBe('adamw')
})

describe('bad recipes name the path, the value and what is allowed', () => {
  test.each([
    ['model.hiden_size=64', 'model.hiden_size: unknown key; did you mean hidden_size?'],
    ['losses.balance.coeficient=1', 'losses.balance.coeficient: unknown key; did you mean coefficient?'],
    ['model.width=64', 'model.width: unknown key; known here: type, num_local_experts, hidden_size, '],
    ['optimizer.lr=1', 'optimizer.lr: unknown key; known here: kind, learningRate, betas'],
    ['stepps=3', 'stepps: unknown key; did you mean steps?'],
    ['data={path: x}', 'data.sequenceLength: is missing'],
    [
      'model.type=null',
      'model.type: must be one of mixtral, mistral, switchyard_moe, switchyard_moe_encoder, switch_transformers, nllb-moe, opened, got null',
    ],
    ['steps=many', 'steps: must be a number, got "many"'],
    ['steps=-1', 'steps: must be above 0, got -1'],
    ['steps=1.5', 'steps: must be a whole number, got 1.5'],
    ['sampling.prompts=text', 'sampling.prompts: must be a list, got "text"'],
    ['losses.router.load=0.1', 'losses.router.load: unknown: top-k has no losses of its own'],
    [
      'dispatch={kind: capacity, factor: 1, policy: prioritized}',
      'dispatch.policy: prioritized lets later tokens push out',
    ],
    ['router={kind: cosine}', "router.kind: cosine is not Mixtral's rule: set model.type to switchyard_moe"],
    [
      'model.type=gpt',
      'model.type: must be one of mixtral, mistral, switchyard_moe, switchyard_moe_encoder, switch_transformers, nllb-moe, opened, got "gpt"',
    ],
    ['precision.kind=f8', 'precision.kind: must be one of f32, auto, autocast, half, got "f8"'],
    ['precision={kind: half, dtype: f8}', 'precision.dtype: must be one of bf16, f16, got "f8"'],
    ['graph=maybe', 'graph: '],
    ['device=tpu', 'device: must be cpu, cuda or cuda:N, got "tpu"'],
    ['router={kind: top-k, k: 9}', 'router.k: 9 exceeds model.num_local_experts, 8'],
    ['model.num_attention_heads=5', 'model.hidden_size: 32 is not divisible by num_attention_heads, 5'],
    ['model.num_key_value_heads=3', 'model.num_key_value_heads: 3 does not divide num_attention_heads, 4'],
    ['model.head_dim=3', 'model.head_dim: 3 is odd; rotary embeddings turn pairs, so it must be even'],
    ['model.max_position_embeddings=8', 'model.max_position_embeddings: 8 is below data.sequenceLength, 64'],
    ['schedule={kind: constant, warmup: 101}', 'schedule.warmup: 101 exceeds steps, 100'],
    [
      'schedule.kind=linear',
      'schedule.kind: must be one of cosine, constant, wsd, inverse-sqrt, got "linear"',
    ],
    ['schedule.kind=wsd', 'schedule.decay: is missing'],
    [
      'schedule={kind: wsd, warmup: 40, decay: 61}',
      'schedule.decay: 61 after a warm-up of 40 exceeds steps, 100',
    ],
    ['router.k=1', 'router.k: 1 gives the chosen expert the constant weight 1'],
    ['sampling.every=10', 'sampling.prompts: is empty, though sampling.every is 10'],
    ['name.x=1', 'name: must be'],
    ['steps.x=1', 'set steps.x: steps is 100, not a group of settings'],
    ['steps', "set: 'steps' is not PATH=VALUE, as in optimizer.learningRate=1e-3"],
    ['__proto__.polluted=1', '__proto__: unknown key'],
  ])('%s', (override, message) => expect(messageOf([override])).toContain(message))

  test('a router that goes by tasks does not sample in training', () => {
    const overrides = ['model.type=switchyard_moe', 'router.kind=task', 'sampling={every: 5, prompts: [a]}']
    expect(messageOf(overrides)).toContain('sampling.every: a router that goes by tasks cannot sample')
  })

  test.each([
    [
      ['model.type=switchyard_moe', 'router.kind=expert-choice'],
      'router.kind: expert-choice routes a token by what follows it, which a decoder does not know when it writes; use ' +
        'it in an encoder (switchyard_moe_encoder), or here one of top-k',
    ],
    [
      ['model.type=switchyard_moe', 'router.kind=sequence'],
      'router.kind: sequence routes a token by what follows it',
    ],
    [
      ['model.type=mixtral', 'router.kind=expert-choice'],
      "router.kind: expert-choice is not Mixtral's rule: set model.type to switchyard_moe",
    ],
    [
      [...encoder, 'router.kind=expert-choice', 'dispatch={kind: capacity, factor: 1}'],
      'dispatch.kind: capacity is for tokens that choose experts; with expert-choice they do not',
    ],
    [
      [...encoder, 'router.kind=reinforce'],
      "router.kind: reinforce is rewarded by each token's own loss, which an encoder has of masked ones only",
    ],
    [
      [...encoder, 'sampling.prompts=[a]'],
      'sampling.prompts: an encoder cannot continue a text; remove them',
    ],
    [[...encoder, 'model.sliding_window=8'], 'model.sliding_window: unknown key'],
    [
      [...peer, 'router.kind=top-k'],
      'router: peer retrieves experts by product keys and has no router; remove it',
    ],
    [[...peer, 'dispatch.kind=dropless'], 'dispatch: peer sends no tokens to experts; remove it'],
    [[...peer, 'losses.router.load=1'], 'losses.router.load: unknown: peer has no losses of its own'],
    [['model.type=switchyard_moe', 'model.experts.heads=2'], 'model.experts.heads: unknown key'],
  ])('%o', (overrides, message) => expect(messageOf(overrides)).toContain(message))

  test('sizes that PEER cannot have, once the corpus is known', () => {
    const config = (override: string): unknown =>
      modelConfigOf(resolveRecipe(recipe([...peer, override]), vocabulary), vocabulary)
    expect(() => config('model.num_local_experts=1000')).toThrow(
      'model: num_local_experts: must be a square up to 2^20, got 1000; the nearest is 1024',
    )
    expect(() => config('model.experts.k=33')).toThrow('model: experts.k: must be in 1..32')
    expect(() => config('model.shared_intermediate_size=8')).toThrow('peer has no shared expert; set 0')
  })

  test('a dense model has no router', () => {
    expect(messageOf(['model.type=mistral', 'router.kind=top-k'])).toBe(
      'router: mistral is dense and has no router; remove it',
    )
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false)
  })

  test('a file that is missing or not YAML', () => {
    expect(() => loadRecipe(join(folder, 'none.yaml'))).toThrow('no such recipe; see recipes/ for examples')
    const file = join(folder, 'bad.yaml')
    writeFileSync(file, 'a: [1, 2\nb: }')
    expect(() => loadRecipe(file)).toThrow(`${file}: not YAML: `)
    writeFileSync(file, '- a\n- b')
    expect(() => loadRecipe(file)).toThrow(`${file}: is not a mapping of keys to values`)
  })
})

test('a resolved recipe says everything, and reading it again changes nothing', () => {
  const resolved = resolveRecipe(recipe(), vocabulary)
  expect(resolved.model).toMatchObject({ vocab_size: 500, head_dim: 8, max_position_embeddings: 64 })
  expect(resolved.router).toEqual({ kind: 'top-k', k: 2, normalize: true, jitter: 0 })
  const again = checkRecipe(parse(stringify(resolved)), 'again')
  expect(again).toEqual(resolved)
  expect(resolveRecipe(again, vocabulary)).toEqual(resolved)
})

test('the vocabulary must hold every token of the corpus', () => {
  expect(() => resolveRecipe(recipe(['model.vocab_size=499']), vocabulary)).toThrow(
    "model.vocab_size: 499 is below the 500 tokens of the corpus's tokenizer",
  )
})

test('the tasks of a router are the domains of the corpus, unless it names its own', () => {
  const domains = (override: string): unknown =>
    resolveRecipe(recipe(['model.type=switchyard_moe', override]), vocabulary).router
  expect(domains('router.kind=task')).toMatchObject({ tasks: ['en', 'code'] })
  expect(domains('router={kind: task, tasks: [code, fr, en]}')).toMatchObject({ tasks: ['code', 'fr', 'en'] })
})

test('the config.json follows from the recipe', () => {
  const config = modelConfigOf(resolveRecipe(recipe(), vocabulary), vocabulary)
  expect(config).toMatchObject({
    model_type: 'mixtral',
    num_experts_per_tok: 2,
    vocab_size: 500,
    eos_token_id: 2,
    router_aux_loss_coef: 0,
  })
})

test("an encoder's mask is a token after those of the tokenizer", () => {
  const resolved = resolveRecipe(recipe(encoder), vocabulary)
  expect(modelConfigOf(resolved, vocabulary)).toMatchObject({ vocab_size: 501, mask_token_id: 500 })
  const padded = resolveRecipe(recipe([...encoder, 'model.vocab_size=512']), vocabulary)
  expect(modelConfigOf(padded, vocabulary)).toMatchObject({ vocab_size: 512, mask_token_id: 500 })
  expect(() => resolveRecipe(recipe([...encoder, 'model.vocab_size=500']), vocabulary)).toThrow(
    "model.vocab_size: 500 is below the 500 tokens of the corpus's tokenizer and the mask token",
  )
})

test('where tokens do not choose experts there is nothing to balance', () => {
  const balance = (overrides: string[]): unknown =>
    resolveRecipe(recipe(overrides), vocabulary).losses.balance.kind
  expect(balance([...encoder, 'router.kind=expert-choice'])).toBe('none')
  expect(balance([...encoder, 'router.kind=soft'])).toBe('none')
  expect(balance(peer)).toBe('none')
  expect(balance([...encoder, 'router.kind=sequence'])).toBe('switch')
})

test('a resolved recipe of PEER has neither router nor dispatch', () => {
  const resolved = resolveRecipe(recipe(peer), vocabulary)
  expect(resolved).not.toHaveProperty('router')
  expect(resolved).not.toHaveProperty('dispatch')
  expect(checkRecipe(parse(stringify(resolved)), 'again')).toEqual(resolved)
})

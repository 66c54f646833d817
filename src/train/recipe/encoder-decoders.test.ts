// Encoder-decoders from recipes: their config.json, and what is refused.
import { describe, expect, test } from 'vitest'
import { isEncoderDecoder } from '../../models/index.ts'
import { withOverrides } from './load.ts'
import { firstModel, modelConfigOf, resolveRecipe } from './model-config.ts'

const shared = {
  name: 'small',
  steps: 10,
  data: { path: 'corpus', sequenceLength: 64, batchSize: 2 },
  optimizer: { kind: 'adamw', learningRate: 1e-3 },
}
const models = {
  switch_transformers: { d_model: 32, d_ff: 48, num_layers: 2, num_heads: 4, num_sparse_encoder_layers: 1 },
  'nllb-moe': {
    d_model: 32,
    encoder_layers: 2,
    encoder_ffn_dim: 48,
    encoder_attention_heads: 4,
    num_experts: 4,
  },
}
const types = Object.keys(models) as (keyof typeof models)[]
const recipeOf = (type: keyof typeof models, overrides: string[] = []) =>
  withOverrides({ ...shared, model: { type, ...models[type] } }, overrides, 'recipe')

const vocabulary = { size: 300, domains: ['en-de'], pad: 0, bos: 1, eos: 2 }

describe.each(types)('%s', type => {
  test('has the ids of its tokenizer, the losses of its recipe, and a decoder like its encoder', () => {
    const recipe = recipeOf(type, [
      'losses.balance.kind=mixtral-hf',
      'losses.balance.coefficient=0.02',
      'losses.z=0.003',
    ])
    const resolved = resolveRecipe(recipe, vocabulary)
    expect(modelConfigOf(resolved, vocabulary)).toMatchObject({
      ...{ model_type: type, vocab_size: 300, pad_token_id: 0, bos_token_id: 1, eos_token_id: 2 },
      ...{ router_aux_loss_coef: 0.02, router_z_loss_coef: 0.003 },
      // T5's targets begin with padding, fairseq's with the end of text.
      decoder_start_token_id: type === 'nllb-moe' ? 2 : 0,
    })
    expect(resolved.model).toMatchObject(
      type === 'nllb-moe'
        ? { decoder_layers: 2, decoder_ffn_dim: 48, decoder_attention_heads: 4 }
        : { num_decoder_layers: 2, d_kv: 8 },
    )
    expect(resolveRecipe(resolved, vocabulary)).toEqual(resolved)
  })

  test('a tokenizer without padding pads by the end of text; one without an end is refused', () => {
    const config = (ids: object) => {
      const words = { ...vocabulary, pad: undefined, bos: undefined, ...ids }
      return modelConfigOf(resolveRecipe(recipeOf(type), words), words)
    }
    expect(config({})).toMatchObject({ pad_token_id: 2, bos_token_id: null, decoder_start_token_id: 2 })
    expect(() => config({ eos: undefined })).toThrow('data.path: its tokenizer has no end of text')
  })

  test('starts as its recipe says', () => {
    const resolved = resolveRecipe(recipeOf(type, ['init.kind=truncated', 'init.scale=0.5']), vocabulary)
    const model = firstModel(resolved, modelConfigOf(resolved, vocabulary))
    const weight = model.namedParameters().get('encoder.layers.0.ffn.up_proj.weight')
    // Uniformly bounded at two standard deviations of sqrt(0.5 / 32) by the redrawing.
    expect(weight?.abs().max().item()).toBeLessThanOrEqual(2 * Math.sqrt(0.5 / 32) + 1e-6)
    expect(weight?.std().item()).toBeGreaterThan(0.8 * Math.sqrt(0.5 / 32)) // 0.88 of it, of 1536 numbers
    model.dispose()
  })

  test.each([
    ['router.kind=top-2', `router: is ${type}'s own, by the fields of model: remove it`],
    ['dispatch=reference', `dispatch: is ${type}'s own, by the fields of model: remove it`],
    ['losses.router.x=1', `losses.router.x: unknown: ${type} has no losses of its own`],
    ['model.num_expert=5', 'model.num_expert: unknown key; did you mean num_experts?'],
    ['model.d_model=0', 'model.d_model'],
    ['model.pad_token_id=3', 'model.pad_token_id: unknown key'],
    ['adapter.rank=4', 'adapter: is for a model that is opened'],
  ])('%s is refused', (override, problem) => expect(() => recipeOf(type, [override])).toThrow(problem))
})

test('positions of NLLB that are fewer than a sequence has, and heads that cannot be, are refused', () => {
  expect(() => recipeOf('nllb-moe', ['model.max_position_embeddings=32'])).toThrow(
    'model.max_position_embeddings: 32 is below data.sequenceLength, 64',
  )
  const resolved = resolveRecipe(recipeOf('nllb-moe', ['model.encoder_attention_heads=5']), vocabulary)
  expect(() => modelConfigOf(resolved, vocabulary)).toThrow(
    'd_model 32 is not divisible by twice the 5 attention heads',
  )
})

test('a dense twin has no experts', () => {
  const dense = {
    switch_transformers: ['model.num_sparse_encoder_layers=0', 'model.num_sparse_decoder_layers=0'],
    'nllb-moe': ['model.encoder_sparse_step=0', 'model.decoder_sparse_step=0'],
  }
  for (const type of types) {
    const resolved = resolveRecipe(recipeOf(type, dense[type]), vocabulary)
    const config = modelConfigOf(resolved, vocabulary)
    expect(isEncoderDecoder(config)).toBe(true)
    const model = firstModel(resolved, config)
    expect([...model.namedParameters().keys()].filter(path => path.includes('experts'))).toEqual([])
    model.dispose()
  }
})

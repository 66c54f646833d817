import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { decoders } from '../../tests/support/fixtures.ts'
import {
  attachAdapters,
  countParameters,
  createModel,
  LanguageModel,
  parseModelConfig,
  saveModel,
} from '../models/index.ts'
import { manualSeed, memoryUse, randint, resetPeakMemory, tidy } from '../torch/index.ts'
import { memoryPlan, refuseTooLarge, totalBytes } from './memory-plan.ts'
import { batchOf } from './objective.ts'
import { createOptimizer } from './optimizer/table.ts'
import { checkRecipe } from './recipe/check.ts'
import { firstModel, modelConfigOf, resolveRecipe } from './recipe/model-config.ts'
import type { Recipe } from './recipe/schema.ts'
import { trainStep } from './step.ts'
import { TrainedParameters } from './trained/trained.ts'

const vocabulary = { size: 512, domains: [], pad: undefined, bos: undefined, eos: undefined }

function recipeOf(model: object, rest: object = {}): Recipe {
  const raw = {
    name: 'plan',
    steps: 1,
    model: {
      type: 'mixtral',
      hidden_size: 128,
      intermediate_size: 128,
      num_hidden_layers: 6,
      num_attention_heads: 4,
      ...model,
    },
    data: { path: 'x', sequenceLength: 128, batchSize: 8 },
    optimizer: { kind: 'adamw', learningRate: 1e-3 },
    ...rest,
  }
  return resolveRecipe(checkRecipe(raw, 'test'), vocabulary)
}

/** The most that a step takes, the model and the optimizer included. */
function measured(recipe: Recipe): number {
  const start = memoryUse().bytes
  const config = modelConfigOf(recipe, vocabulary)
  using model = firstModel(recipe, config)
  if (recipe.adapter) attachAdapters(model, recipe.adapter)
  if (model instanceof LanguageModel) model.model.recompute = recipe.recompute
  const trained = new TrainedParameters(model, recipe.trained)
  using optimizer = createOptimizer(trained.parameters, recipe.optimizer)
  const { batchSize, sequenceLength } = recipe.data
  const { objective } = recipe
  const preference =
    objective.kind === 'dpo' ? { ...objective, reference: new Float64Array(2 * batchSize) } : null
  const step = (): void =>
    tidy(() => {
      const batches = Array.from({ length: recipe.gradientAccumulation }, (_, seed) => {
        const ids = randint(0, vocabulary.size, [(preference ? 2 : 1) * batchSize, sequenceLength + 1], {
          seed,
        })
        const rows = batchOf({
          inputs: ids.narrow(1, 0, sequenceLength),
          targets: ids.narrow(1, 1, sequenceLength),
        })
        return { ...rows, ...(preference && { pairs: Array.from({ length: batchSize }, (_, i) => i) }) }
      })
      trainStep(model, optimizer, batches, {
        losses: recipe.losses,
        preference,
        learningRate: 1e-3,
        clip: 1,
        observe: true,
        trained: [...trained.parameters.values()],
      })
    })
  step() // moments are there from now on
  resetPeakMemory()
  step()
  return memoryUse().peakBytes - start
}

/** As a share of what was measured. */
function planned(recipe: Recipe): number {
  return totalBytes(memoryPlan(recipe, modelConfigOf(recipe, vocabulary))) / measured(recipe)
}

describe('the plan is within 5% of what a step takes', () => {
  const few = { data: { path: 'x', sequenceLength: 32, batchSize: 2 } }
  const own = { type: 'switchyard_moe' }
  // Sizes are such that blocks of memory hold them exactly: rounding up would be an eighth at most. What is left out are
  // small tensors, as a layer's masks and the losses of tokens, and which of the last temporaries live at once.
  test.each<[string, Recipe]>([
    ['mostly activations', recipeOf({})],
    ['layers computed again', recipeOf({}, { recompute: 'layers' })],
    ['mostly weights', recipeOf({ vocab_size: 4096, num_local_experts: 32 }, few)],
    ['micro-batches', recipeOf({ vocab_size: 2048 }, { gradientAccumulation: 2 })],
    [
      'micro-batches, layers computed again',
      recipeOf({ vocab_size: 2048 }, { gradientAccumulation: 2, recompute: 'layers' }),
    ],
    ['a dense model', recipeOf({ type: 'mistral', intermediate_size: 512 })],
    [
      'a shared expert, the first layer dense',
      recipeOf(
        { ...own, shared_intermediate_size: 128, moe_layers: { after: 1 }, num_key_value_heads: 1 },
        { router: { kind: 'biased-top-k', k: 3 } },
      ),
    ],
    ['an encoder', recipeOf({ type: 'switchyard_moe_encoder' })],
    ...(['muon', 'adafactor', 'sgd'] as const).map((kind): [string, Recipe] => [
      `mostly weights, ${kind}`,
      recipeOf(
        { vocab_size: 4096, num_local_experts: 32 },
        { ...few, optimizer: { kind, learningRate: 1e-3 } },
      ),
    ]),
    ['smoothed labels', recipeOf({ vocab_size: 2048 }, { losses: { labelSmoothing: 0.1 } })],
    ['pairs of answers', recipeOf({ vocab_size: 4096 }, { objective: 'dpo' })],
    ['PEER', recipeOf({ ...own, num_local_experts: 1024, experts: { kind: 'peer', heads: 2, k: 4 } })],
  ])('%s', (_, recipe) => {
    expect(Math.abs(planned(recipe) - 1)).toBeLessThan(0.05)
  })
})

describe('a published model that is trained further', () => {
  const folder = temporaryFolder()
  const config = {
    ...{
      vocab_size: 512,
      hidden_size: 128,
      intermediate_size: 128,
      num_hidden_layers: 6,
      max_position_embeddings: 256,
    },
    ...{
      num_attention_heads: 4,
      num_key_value_heads: 4,
      head_dim: 32,
      pad_token_id: null,
      num_experts_per_tok: 2,
    },
    ...{
      num_experts: 8,
      num_local_experts: 8,
      n_routed_experts: 8,
      n_shared_experts: 1,
      n_group: 1,
      topk_group: 1,
    },
    ...{ moe_intermediate_size: 128, shared_expert_intermediate_size: 128, first_k_dense_replace: 1 },
    ...{ kv_lora_rank: 64, q_lora_rank: 64, qk_nope_head_dim: 32, qk_rope_head_dim: 16, v_head_dim: 32 },
  }

  const sharesOf = (type: string, ways: readonly object[]): number[] => {
    const from = join(folder, type)
    manualSeed(1)
    const parsed = parseModelConfig({ model_type: type, ...config })
    const model = createModel(parsed)
    saveModel(from, model, parsed)
    model.dispose()
    return ways.map(way => {
      const raw = {
        name: 'plan',
        steps: 1,
        model: { from },
        data: { path: 'x', sequenceLength: 128, batchSize: 8 },
      }
      const recipe = checkRecipe({ ...raw, optimizer: { learningRate: 1e-3 }, ...way }, 'test')
      return planned(resolveRecipe(recipe, vocabulary))
    })
  }

  test.each(decoders)('%s: within 5%, whole or in part, and with adapters within 20%', type => {
    const adapters = [{ adapter: { on: 'attention' } }, { adapter: { on: 'experts' } }]
    const [all = 0, attention = 0, ...adapted] = sharesOf(type, [{}, { trained: 'attention' }, ...adapters])
    expect(Math.abs(all - 1)).toBeLessThan(0.05)
    expect(Math.abs(attention - 1)).toBeLessThan(0.05)
    for (const share of adapted) expect(Math.abs(share - 1)).toBeLessThan(0.2)
  })

  test.each(['mixlora', 'molora', 'mov'])('a dense one with %s: within 20%%', kind => {
    const [share = 0] = sharesOf('mistral', [{ adapter: { kind } }])
    expect(Math.abs(share - 1)).toBeLessThan(0.2)
  })
})

test('bytes per weight are those of the precision', () => {
  const bytes = (precision: object): [number, number] => {
    const recipe = recipeOf({}, { precision, device: 'cuda' })
    const config = modelConfigOf(recipe, vocabulary)
    const { weights, optimizer } = memoryPlan(recipe, config)
    const { total } = countParameters(config)
    return [weights / total, optimizer / total]
  }
  const half = { kind: 'half', router: 'half' }
  expect(bytes({ kind: 'f32' })).toEqual([4, 8])
  expect(bytes({ kind: 'autocast' })).toEqual([4, 8])
  expect(bytes(half)).toEqual([2, 12])
  expect(bytes({ ...half, master: false })).toEqual([2, 8])
  expect(bytes({ ...half, master: false, moments: 'bf16' })).toEqual([2, 4])
})

describe('what does not fit is refused, naming what helps most', () => {
  const ends = { ...vocabulary, pad: 0, eos: 1 }
  test.each<[string, Recipe, RegExp]>([
    ['activations', recipeOf({}), /for activations.*: set recompute: layers, or lower data\.batchSize$/],
    [
      'activations of layers computed again',
      recipeOf({}, { recompute: 'layers', data: { path: 'x', sequenceLength: 128, batchSize: 512 } }),
      /: lower data\.batchSize$/,
    ],
    [
      'weights',
      recipeOf({ num_local_experts: 64 }),
      /for weights.*: lower model\.hidden_size, num_hidden_layers or num_local_experts$/,
    ],
    [
      'activations of an encoder-decoder, whose layers are not run again',
      resolveRecipe(
        checkRecipe(
          {
            ...{ name: 'pairs', steps: 1, optimizer: { learningRate: 1e-3 } },
            model: { type: 'switch_transformers', d_model: 64, d_ff: 64, num_layers: 2, num_heads: 2 },
            data: { path: 'x', sequenceLength: 128, batchSize: 128 },
          },
          'test',
        ),
        ends,
      ),
      /for activations.*: lower data\.batchSize or data\.sequenceLength$/,
    ],
  ])('%s', (_, recipe, message) => {
    const config = modelConfigOf(recipe, ends)
    const plan = memoryPlan(recipe, config)
    const total = totalBytes(plan)
    expect(() => refuseTooLarge(plan, { recipe, config }, total)).not.toThrow()
    expect(() => refuseTooLarge(plan, { recipe, config }, total / 1.06)).toThrow(message)
  })
})

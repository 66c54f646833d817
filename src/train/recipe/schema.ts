// A recipe: everything a training run depends on. Each part owns its schema; unknown keys are errors.

import { z } from 'zod'
import { kinds } from '../../kinds.ts'
import { adapterSchema, dropoutSchema, selectionSchema } from '../../models/index.ts'
import { dispatchSchema, expertsSchema, routerSchema } from '../../moe/index.ts'
import { lossesSchema } from '../objective.ts'
import { optimizerSchema } from '../optimizer/table.ts'
import { precisionSchema } from '../precision.ts'
import { preferenceSchema } from '../preference.ts'
import { scheduleSchema } from '../schedule.ts'
import { spanCorruptionSchema } from '../span-corruption.ts'
import { averageSchema } from '../weight-average.ts'
import { weightsSchema } from '../window-order.ts'
import { type EncoderDecoderSettings, nllbSchema, switchSchema } from './encoder-decoders.ts'
import { initSchema } from './initialize.ts'

const count = z.int().positive()
const every = z.int().nonnegative()

/** Config fields by HF's names; what is left out follows from the data or from the field's default. */
const decoderFields = {
  hidden_size: count,
  /** Width of the feed-forward: of one expert for mixtral, of the whole for mistral. */
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  /** Default: as many as num_attention_heads. */
  num_key_value_heads: count.optional(),
  /** Default: hidden_size / num_attention_heads. */
  head_dim: count.optional(),
  /** Default: the tokenizer's. */
  vocab_size: count.optional(),
  /** Default: data.sequenceLength. */
  max_position_embeddings: count.optional(),
  rope_theta: z.number().positive().default(10_000),
  rms_norm_eps: z.number().positive().default(1e-5),
  sliding_window: count.nullable().default(null),
  tie_word_embeddings: z.boolean().default(false),
  initializer_range: z.number().positive().default(0.02),
}

/** An encoder looks both ways, as far as the sequence goes. */
const { sliding_window: _, ...encoderFields } = decoderFields

/** What our own model types have beside that. */
const expertLayerFields = {
  num_local_experts: count.default(8),
  /** What the experts are: gated feed-forwards behind the router, or PEER's neurons, which need none. */
  experts: expertsSchema.prefault({}),
  /** Layers with experts: all, every n-th (layer i when n divides i + 1), all after the first n, or a list. */
  moe_layers: z
    .union([
      z.literal('all'),
      z.strictObject({ every: count }),
      z.strictObject({ after: z.int().nonnegative() }),
      z.array(z.int().nonnegative()),
    ])
    .default('all'),
  /** Width of dense layers. Default: what makes them as active as a layer of experts. */
  dense_intermediate_size: count.optional(),
  /** Width of an expert that every token passes; 0: none. */
  shared_intermediate_size: z.int().nonnegative().default(0),
}

/** A model that is there: a folder, a run, a GGUF file or `org/name` of a download. All that makes it what it is, is its own. */
const openedModelSchema = z.strictObject({
  type: z.literal('opened'),
  from: z.string().min(1),
  /** `stored`: matrices stay as the file has them, quantized or in half precision, and adapters alone are trained. */
  weights: z.enum(['decoded', 'stored']).default('decoded'),
})

const modelSchema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('mixtral'), num_local_experts: count.default(8), ...decoderFields }),
  z.strictObject({ type: z.literal('mistral'), ...decoderFields }),
  /** Any router that a decoder can use, or PEER. */
  z.strictObject({ type: z.literal('switchyard_moe'), ...expertLayerFields, ...decoderFields }),
  /** An encoder, trained to fill in masked tokens: any router, or PEER. */
  z.strictObject({ type: z.literal('switchyard_moe_encoder'), ...expertLayerFields, ...encoderFields }),
  switchSchema,
  nllbSchema,
  openedModelSchema,
])

/** What is learnt of the text. */
const objectiveSchema = kinds(
  /** Every token that is to be learnt, as likely as can be. */
  z.strictObject({ kind: z.literal('likelihood') }),
  preferenceSchema,
  spanCorruptionSchema,
)

const dataSchema = z.strictObject({
  /** A corpus folder made by `switchyard data prepare`. */
  path: z.string().min(1),
  sequenceLength: count,
  /** Sequences per micro-batch. */
  batchSize: count,
  /** What becomes of conversations that are longer than a sequence. */
  long: z.enum(['cut', 'drop', 'refuse']).default('cut'),
  /** How often windows of each domain come. Default: each window as often as any other. */
  weights: weightsSchema.optional(),
})

export const recipeSchema = z.strictObject({
  name: z.string().regex(/^[\w.-]+$/, 'must be of letters, digits, dots, dashes and underscores'),
  seed: z.int().nonnegative().default(1),
  device: z
    .string()
    .regex(/^(cpu|cuda(:\d+)?)$/, 'must be cpu, cuda or cuda:N')
    .default('cpu'),
  precision: precisionSchema.prefault({}),
  model: modelSchema,
  /** What backward computes again instead of keeping it: the activations within each layer. */
  recompute: z.enum(['none', 'layers']).default('none'),
  /** On CUDA, steps are recorded once and replayed as a graph; on a CPU nothing changes. */
  graph: z.boolean().default(false),
  /** How weights start. */
  init: initSchema.prefault({}),
  router: routerSchema.optional(),
  dispatch: dispatchSchema.optional(),
  /** What training drops at random. Default: what the model was made with. */
  dropout: dropoutSchema.optional(),
  /** The parts that are trained; the others stay as they are, bit for bit. */
  trained: selectionSchema.default(['all']),
  /** Adapters around parts of an opened model, which are then what is trained, unless `trained` says otherwise. */
  adapter: adapterSchema.optional(),
  losses: lossesSchema.prefault({}),
  /** What is learnt of the text. */
  objective: objectiveSchema.prefault({}),
  data: dataSchema,
  optimizer: optimizerSchema,
  schedule: scheduleSchema.prefault({}),
  /** A moving average of the weights, which is what is evaluated and sampled from; checkpoints have both. Default: none. */
  ema: averageSchema.optional(),
  /** Optimizer steps. */
  steps: count,
  /** Micro-batches per step. */
  gradientAccumulation: count.default(1),
  /** Largest gradient norm; null: any. */
  clip: z.number().positive().nullable().default(1),
  /**
   * Validation loss every so many steps (0: at the end only), over `batches` batches (null: the whole split). The run ends when so
   * many evaluations in a row (`patience`; null: never) were no better than the best.
   */
  evaluation: z
    .strictObject({
      every: every.default(0),
      batches: count.nullable().default(20),
      patience: count.nullable().default(null),
    })
    .prefault({}),
  /** Text written every so many steps (0: never), from each prompt. */
  sampling: z
    .strictObject({
      every: every.default(0),
      prompts: z.array(z.string().min(1)).default([]),
      maxNewTokens: count.default(60),
      temperature: z.number().nonnegative().default(0.8),
    })
    .prefault({}),
  /**
   * Checkpoints every so many steps (0: at the end only). The newest `keepLast` stay, and if `keepBest`, the one with the
   * best validation loss, which is also written when it is not due.
   */
  checkpoint: z
    .strictObject({
      every: every.default(500),
      keepLast: count.default(2),
      keepBest: z.boolean().default(true),
    })
    .prefault({}),
  /** Metrics every so many steps. */
  logging: z.strictObject({ every: count.default(10) }).prefault({}),
  /** Steps in a row with NaN or infinite gradients, which are skipped, before the run stops. */
  maxBadSteps: count.default(10),
})

/** Everything that a run depends on, complete; docs/recipes.md has each setting. */
export type Recipe = z.infer<typeof recipeSchema>

type ModelSettings = Recipe['model']
type ExpertLayersModel = Extract<ModelSettings, { experts: unknown }>
export type OpenedModelSettings = Extract<ModelSettings, { type: 'opened' }>
/** A model of one stack of layers that starts from nothing, by its sizes. */
export type StackSettings = Exclude<ModelSettings, OpenedModelSettings | EncoderDecoderSettings>

/** Whether a model is one of our own types, whose layers may differ and whose experts come in kinds. */
export function hasExpertLayers(model: ModelSettings): model is ExpertLayersModel {
  return 'experts' in model
}

/** Whether a model is a new one of one stack of layers, whose router and dispatch are the recipe's. */
export function isStack(model: ModelSettings): model is StackSettings {
  return 'hidden_size' in model
}

/** Whether training goes on from a model that is there. */
export function isOpened(model: ModelSettings): model is OpenedModelSettings {
  return model.type === 'opened'
}

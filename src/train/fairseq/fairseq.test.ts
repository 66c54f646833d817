// fairseq's command lines as recipes.
import { describe, expect, test } from 'vitest'
import { withOverrides } from '../recipe/load.ts'
import { modelConfigOf, resolveRecipe } from '../recipe/model-config.ts'
import type { Recipe } from '../recipe/schema.ts'
import { idleNotes, parseFairseq } from './flags.ts'
import { fairseqRecipe } from './recipe.ts'

const data = { path: 'corpus', examples: 10_000, length: 25, longest: 90 }

const words = (line: string): string[] =>
  [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')

function recipeOf(line: string, more = data): { recipe: Recipe; notes: string[] } {
  const { settings, notes } = fairseqRecipe(parseFairseq(words(line)), more)
  return { recipe: withOverrides(settings, [], 'fairseq'), notes }
}

/** As it is written about. */
const moe =
  '--arch transformer_moe --task translation --moe-experts 16 --moe-freq 2 --moe-gating-type top --moe-k 2 ' +
  '--moe-gate-loss-wt 0.01 --moe-gate-loss-combine-method sum --moe-gate-loss-transform none ' +
  '--moe-second-expert-policy all --moe-normalize-gate-prob-before-dropping ' +
  '--moe-eval-capacity-token-fraction 0.25 --moe-batch-prioritized-routing --moe-normalize-expert-grad world_size ' +
  '--fp16 --update-freq 4 --distributed-world-size 8 --ddp-backend fully_sharded DATA'

describe('translation with experts', () => {
  const { recipe, notes } = recipeOf(moe)

  test('is an NLLB of the sizes of fairseq', () => {
    expect(recipe).toMatchObject({
      name: 'transformer_moe',
      model: {
        type: 'nllb-moe',
        d_model: 512,
        encoder_layers: 6,
        decoder_layers: 6,
        encoder_ffn_dim: 2048,
        encoder_attention_heads: 8,
        encoder_sparse_step: 2,
        decoder_sparse_step: 2,
        num_experts: 16,
        second_expert_policy: 'all',
        normalize_router_prob_before_dropping: true,
        batch_prioritized_routing: true,
        moe_eval_capacity_token_fraction: 0.25,
        moe_token_dropout: 0,
      },
      losses: { balance: { kind: 'gshard', coefficient: 0.01 }, z: { coefficient: 0 } },
    })
    const vocabulary = { size: 500, domains: ['en-de'], bos: 0, pad: 1, eos: 2 }
    expect(modelConfigOf(resolveRecipe(recipe, vocabulary), vocabulary)).toMatchObject({
      decoder_start_token_id: 2,
      pad_token_id: 1,
      vocab_size: 500,
    })
  })

  test('has the batch of eight processes and four updates, in one', () => {
    // 4096 tokens by pairs of 25.
    expect(recipe).toMatchObject({ data: { batchSize: 163, sequenceLength: 90 }, gradientAccumulation: 32 })
    expect(notes).toContain(
      '--distributed-world-size 8: one process trains here, on the same batch: 32 micro-batches a step',
    )
  })

  test('says what is without effect', () => {
    expect(idleNotes(parseFairseq(words(moe)))).toEqual([
      'without effect: --moe-normalize-expert-grad (it divides what processes add up, and one process trains here)',
      'without effect: --ddp-backend (one process trains here)',
    ])
  })

  test('drops as fairseq does, where there is a place for it', () => {
    const rates = '--attention-dropout 0.2 --relu-dropout 0.3'
    expect(recipe.dropout).toEqual({ hidden: 0.1, attention: 0, experts: 0 })
    expect(recipeOf(moe.replace('DATA', `--dropout 0.3 ${rates} DATA`)).recipe.dropout).toEqual({
      ...{ hidden: 0.3, attention: 0.2, experts: 0.3 },
    })
    const decoder = recipeOf(`--arch transformer_lm ${rates} DATA`)
    expect(decoder.recipe.dropout).toEqual({ hidden: 0.1, attention: 0 })
    expect(decoder.notes).toContain("without effect: --attention-dropout (the decoder's kernels know none)")
    expect(decoder.notes).toContain('without effect: --activation-dropout (it is of experts alone)')
  })

  test('has no more micro-batches than the data has', () => {
    const small = recipeOf(moe, { path: 'corpus', examples: 300, length: 25, longest: 90 })
    expect(small.recipe).toMatchObject({ data: { batchSize: 163 }, gradientAccumulation: 2, steps: 10 })
  })
})

test('sizes, optimizer, schedule and pace', () => {
  const { recipe } = recipeOf(
    "--arch transformer --encoder-embed-dim 64 --encoder-layers 2 --decoder-layers=3 --encoder-ffn-embed-dim 96 --encoder-attention-heads 4 --decoder-attention-heads 4 --optimizer adam --adam-betas '(0.9, 0.98)' --lr 7e-4 --lr-scheduler inverse_sqrt --warmup-updates 100 --max-update 400 --max-tokens 500 --clip-norm 0.5 --label-smoothing 0.1 --criterion label_smoothed_cross_entropy --seed 7 --weight-decay 0.01 --log-interval 20 --save-interval-updates 50 --no-epoch-checkpoints -s en -t de DATA",
  )
  expect(recipe).toMatchObject({
    seed: 7,
    model: { d_model: 64, encoder_layers: 2, decoder_layers: 3, encoder_ffn_dim: 96, encoder_sparse_step: 0 },
    data: { batchSize: 20 },
    optimizer: { kind: 'adamw', learningRate: 7e-4, betas: [0.9, 0.98], weightDecay: 0.01 },
    schedule: { kind: 'inverse-sqrt', warmup: 100 },
    steps: 400,
    clip: 0.5,
    losses: { balance: { kind: 'none' }, labelSmoothing: 0.1 },
    logging: { every: 20 },
    checkpoint: { every: 50 },
    precision: { kind: 'f32' },
  })
})

test("0 and -1 are fairseq's words for none", () => {
  const none = '--max-epoch 0 --validate-interval-updates 0 --save-interval-updates 0 --patience -1'
  const { recipe } = recipeOf(`--arch transformer --max-update 5000 ${none} --keep-interval-updates -1 D`)
  // 10,000 pairs by 163.
  expect(recipe).toMatchObject({ steps: 5000, evaluation: { every: 62, patience: null } })
  expect(recipe.checkpoint).toMatchObject({ every: 500, keepLast: 10 })
  expect(recipeOf('--arch transformer --max-update 0 --max-epoch 2 D').recipe.steps).toBe(124)
})

test('a warm-up that is cut is told', () => {
  const line = '--arch transformer --lr-scheduler inverse_sqrt --max-update 100'
  const { recipe, notes } = recipeOf(`${line} D`)
  expect(recipe.schedule).toEqual({ kind: 'inverse-sqrt', warmup: 100 })
  expect(notes).toContain('--warmup-updates 4000: cut to 100 of 100 steps, the rate then at its peak')
  const told = recipeOf(`${line} --warmup-updates 100 D`).notes
  expect(told.filter(note => note.includes('warmup'))).toEqual([])
})

test('top-1 is a Switch', () => {
  const { recipe } = recipeOf(
    '--arch transformer --moe-expert-count 4 --moe-freq 2 --moe-top1-expert --max-update 5 D',
  )
  expect(recipe.model).toMatchObject({
    ...{
      type: 'switch_transformers',
      num_sparse_encoder_layers: 3,
      num_sparse_decoder_layers: 3,
      expert_capacity: 23,
    },
  })
})

test('architectures have sizes of their own, and flags count for more', () => {
  expect(recipeOf('--arch transformer_iwslt_de_en --encoder-layers 3 D').recipe.model).toMatchObject({
    ...{ d_model: 512, encoder_ffn_dim: 1024, decoder_ffn_dim: 1024, encoder_attention_heads: 4 },
    ...{ encoder_layers: 3, decoder_layers: 6 },
  })
  expect(recipeOf('--arch transformer_wmt_en_de_big D').recipe.dropout).toMatchObject({
    ...{ hidden: 0.3, attention: 0.1 },
  })
  expect(recipeOf('--arch transformer_lm_gpt D').recipe.model).toMatchObject({
    ...{ hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12 },
  })
})

test('the mean of balance losses is of the layers of both sides', () => {
  const line =
    '--arch transformer --moe-expert-count 4 --moe-freq 2 --decoder-layers 4 --moe-gate-loss-wt 0.1 D'
  expect(recipeOf(line).recipe.losses.balance).toMatchObject({ kind: 'gshard', coefficient: 0.1 / 5 })
})

test('language models', () => {
  const line =
    '--arch transformer_lm --task language_modeling --moe-expert-count 8 --moe-freq 2 --tokens-per-sample 128 --batch-size 4 --max-update 10 --lr-scheduler polynomial_decay --warmup-updates 4 --moe-gate-loss-wt 0.02 --moe-eval-capacity-token-fraction -1.0 --share-decoder-input-output-embed DATA'
  expect(recipeOf(line).recipe).toMatchObject({
    model: { type: 'switchyard_moe', hidden_size: 512, moe_layers: { every: 2 }, num_local_experts: 8 },
    router: { kind: 'top-2', policy: 'sampling', normalize: false, threshold: 0.5 },
    dispatch: { kind: 'capacity', factor: 2, share: 'tokens', minimum: 1, renormalize: true },
    // The mean of three layers.
    losses: { balance: { kind: 'gshard', coefficient: 0.02 / 3 } },
    data: { sequenceLength: 128, batchSize: 4 },
    schedule: { kind: 'wsd', warmup: 4, decay: 6, minimum: 0 },
  })
  expect(
    recipeOf('--arch transformer_lm --moe-expert-count 8 --moe-freq 1 --moe-k 1 D').recipe,
  ).toMatchObject({
    router: { kind: 'top-k', k: 1, normalize: false },
    dispatch: { factor: 1, evalTokenFraction: 0.25 },
  })
  expect(recipeOf('--arch transformer_lm D').recipe.model.type).toBe('mistral')
  // 10,000 texts of 25 tokens are 250 sequences of 1,000: four of them are in the 4,096 tokens of a batch.
  expect(
    recipeOf('--arch transformer_lm --tokens-per-sample 1000 --max-epoch 2 --checkpoint-activations D')
      .recipe,
  ).toMatchObject({
    ...{ data: { batchSize: 4 }, steps: 126, recompute: 'layers' },
  })
})

test.each([
  [
    '--arch transformer --moe-expert-cuont 4 D',
    '--moe-expert-cuont: is no flag of fairseq that is known here; did you mean --moe-expert-count?',
  ],
  [
    '--arch transformer --frobnicate D',
    '--frobnicate: is no flag of fairseq that is known here; see docs/recipes.md',
  ],
  ['--arch transformer', 'DATA: is missing: name a data-bin folder'],
  ['--arch transformer a b', 'DATA: is one folder, got a and b'],
  ['--arch transformer D --lr', '--lr: has no value after it'],
  ['--arch transformer --lr high D', "--lr: must be a number, got 'high'"],
  ['--arch lstm D', "--arch: 'lstm' is not known here; there are transformer, transformer_moe"],
  [
    '--arch transformer --task language_modeling D',
    "--task: must be translation for --arch transformer, got 'language_modeling'",
  ],
  ['--arch transformer --moe-k 3 D', '--moe-k: must be 1 or 2, as fairseq has it, got 3'],
  ['--arch transformer --moe-gating-type hash D', "--moe-gating-type: must be one of top, got 'hash'"],
  ['--arch transformer --adam-betas 0.9 D', "--adam-betas: must be two numbers as '(0.9, 0.98)', got '0.9'"],
  [
    '--arch transformer --decoder-embed-dim 64 D',
    '--decoder-embed-dim: must be as --encoder-embed-dim, 512, got 64',
  ],
  ['--arch transfomer_moe D', "--arch: 'transfomer_moe' is not known here; did you mean transformer_moe?"],
  ['--arch transformer --moe-gate-loss-transform neg_log D', '--moe-gate-loss-transform: must be none'],
])('%s is refused', (line, problem) => expect(() => recipeOf(line)).toThrow(problem))

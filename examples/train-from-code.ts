// A small Mixture-of-Experts language model, trained without a recipe on the sample text that ships with Switchyard.
//   run: npx tsx examples/train-from-code.ts [--steps 150] [--out FOLDER]

import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  AdamW,
  copyTokenizer,
  createModel,
  evaluate,
  generateText,
  manualSeed,
  openModel,
  parseModelConfig,
  prepareCorpus,
  routingStats,
  sampleSource,
  saveModel,
  switchBalanceLoss,
  TokenWindows,
  tidy,
  tokenRoutings,
  tokensOf,
  WindowSampler,
} from 'switchyard'

const { values } = parseArgs({
  options: { steps: { type: 'string', default: '150' }, out: { type: 'string' } },
})
const steps = Number(values.steps)
const work = mkdtempSync(join(tmpdir(), 'switchyard-'))
const out = values.out ?? join(work, 'model')

// Text: cleaned, split into training and validation, tokenized by a BPE that is trained on it, and packed.
const corpus = await prepareCorpus({
  out: join(work, 'corpus'),
  source: sampleSource(),
  tokenizer: { kind: 'bpe', vocabSize: 512 },
  size: 60_000, // bytes of each domain
  validation: 0.1,
})
const training = new TokenWindows(corpus.train, 64)
const validation = new TokenWindows(corpus.validation, 64)

// A model: fields that are left out are Mixtral's own.
manualSeed(1)
const config = parseModelConfig({
  model_type: 'mixtral',
  vocab_size: corpus.vocabSize,
  hidden_size: 64,
  intermediate_size: 96, // of each expert
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_local_experts: 8,
  num_experts_per_tok: 2,
  max_position_embeddings: 256,
  bos_token_id: null,
  eos_token_id: 0,
})
const model = createModel(config)
const optimizer = new AdamW(model.parameters(), { learningRate: 3e-3 })
const order = new WindowSampler({ windows: training.count, seed: 1 })
console.log(
  `${model.numParameters} parameters, ${corpus.train.tokens} tokens of ${corpus.domains.join(', ')}`,
)

for (let step = 1; step <= steps; step++) {
  // tidy() frees every tensor of the step; gradients and what the optimizer keeps stay.
  tidy(() => {
    const { inputs, targets } = training.batch(order.take(8)) // [8, 64] each
    const { loss, routings } = model.loss(tokensOf(inputs), targets.reshape([-1]))
    const layers = tokenRoutings(routings)
    const balance = layers.map(switchBalanceLoss).reduce((sum, layer) => sum.add(layer))
    model.zeroGrad()
    loss.add(balance, 0.01).backward()
    optimizer.update()
    if (step % Math.ceil(steps / 5) !== 0 && step !== 1) return
    const heaviest = layers.map(layer => routingStats(layer).maxOverMean.toFixed(2))
    console.log(`step ${step}: loss ${loss.item().toFixed(3)}, heaviest expert over the mean ${heaviest}`)
  })
}

const { loss, domains } = await evaluate(model, validation, { ...corpus, batchSize: 16, batches: null })
console.log(`validation: loss ${loss.toFixed(3)}`)
for (const { name, bitsPerByte } of domains) console.log(`  ${name}: ${bitsPerByte.toFixed(2)} bits per byte`)

// A Hugging Face folder: transformers, `switchyard generate` and openModel() open it.
saveModel(out, model, config)
copyTokenizer(corpus.folder, out)
const saved = openModel(out)
console.log(`saved to ${out}, which writes:`)
for await (const piece of generateText(saved.load({ kind: 'text' }), saved.tokenizer, 'the ', {
  maxNewTokens: 24,
}))
  process.stdout.write(piece)
process.stdout.write('\n')

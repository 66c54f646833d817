// Switchyard's training step, for benchmarks/train-step.ts.
//   usage: train-step.ts OPERATOR_THREADS BLAS_THREADS CONFIG_JSON

import { type MixtralConfig, MixtralForCausalLM } from '../../src/models/index.ts'
import { manualSeed, randint, setThreads } from '../../src/torch/index.ts'
import { lossesSchema } from '../../src/train/objective.ts'
import { AdamW } from '../../src/train/optimizer/adamw.ts'
import { trainStep } from '../../src/train/step.ts'
import { serve } from '../support/contestant.ts'

const [operators, blas, sizes = '{}'] = process.argv.slice(2)
setThreads(Number(operators), Number(blas))
manualSeed(1)
const config = JSON.parse(sizes)
const modelConfig: MixtralConfig = {
  model_type: 'mixtral',
  vocab_size: config.vocab,
  hidden_size: config.hidden,
  intermediate_size: config.ff,
  num_hidden_layers: config.layers,
  num_attention_heads: config.heads,
  num_key_value_heads: config.heads,
  head_dim: config.hidden / config.heads,
  max_position_embeddings: config.length,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  sliding_window: null,
  tie_word_embeddings: false,
  initializer_range: 0.02,
  pad_token_id: null,
  bos_token_id: null,
  eos_token_id: null,
  num_local_experts: config.experts,
  num_experts_per_tok: config.topK,
  router_aux_loss_coef: 0,
}
const model = new MixtralForCausalLM(modelConfig)
const everything = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay: 0.1 }
const optimizer = new AdamW([everything], { betas: [0.9, 0.95], epsilon: 1e-8 })
const ids = randint(0, config.vocab, [config.batch, config.length + 1])
const batch = { inputs: ids.narrow(1, 0, config.length), targets: ids.narrow(1, 1, config.length) }
const losses = lossesSchema.parse({ z: 0 })

await serve(count => {
  let loss = 0
  for (let i = 0; i < count; i++) {
    const observe = i === count - 1
    const result = trainStep(model, optimizer, [batch], {
      losses,
      learningRate: 1e-3,
      clip: 1,
      mixed: false,
      observe,
    })
    loss = result.losses?.total ?? 0
  }
  return { loss }
})

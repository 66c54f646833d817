// A model for examples that are given none: it learns one text by heart, in a second or two.

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  AdamW,
  byteTokenizer,
  byteTokenizerFiles,
  createModel,
  manualSeed,
  parseModelConfig,
  saveModel,
  tidy,
  tokensOfSequences,
} from 'switchyard'

const text = 'A switchyard sends rail cars to their tracks; a router sends tokens to their experts.'

/** Makes the model's folder. */
export async function reciter(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-'))
  const tokenizer = byteTokenizer()
  const end = tokenizer.specialIds.eos ?? 0
  const ids = [...(await tokenizer.encode(text)), end]
  const config = parseModelConfig({
    model_type: 'olmoe',
    vocab_size: tokenizer.vocabSize,
    hidden_size: 64,
    intermediate_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_experts: 4,
    num_experts_per_tok: 2,
    max_position_embeddings: 512,
    eos_token_id: end,
  })
  manualSeed(2)
  using model = createModel(config)
  const [steps, learningRate] = [150, 1e-2]
  using optimizer = new AdamW(model.parameters())
  for (let step = 0; step < steps; step++)
    tidy(() => {
      const { ids: targets } = tokensOfSequences([ids.slice(1)])
      model.zeroGrad()
      model.loss(tokensOfSequences([ids.slice(0, -1)]), targets).loss.backward()
      optimizer.update(learningRate * (1 - step / steps)) // it ends calmly, whatever the last digits were
    })
  saveModel(folder, model, config)
  for (const [name, content] of Object.entries(byteTokenizerFiles()))
    writeFileSync(join(folder, name), content)
  return folder
}

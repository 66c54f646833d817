// A small Switch model with a byte tokenizer that has sentinels.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { byteTokenizerFiles, loadTokenizer, sentinelNames, withSpecialTokens } from '../../src/data/index.ts'
import { createModel, parseAnyConfig, saveModel } from '../../src/models/index.ts'
import { manualSeed } from '../../src/torch/index.ts'

/** Ids 0 to 2 are `<pad>`, `<s>` and `</s>` as the byte tokenizer has them. */
export function writeSwitch(folder: string, languages: readonly string[] = []): string {
  for (const [name, text] of Object.entries(byteTokenizerFiles())) {
    const isTokenizer = name === 'tokenizer.json'
    const more = isTokenizer ? withSpecialTokens(text, [...sentinelNames(20), ...languages]) : text
    writeFileSync(join(folder, name), more)
  }
  const { vocabSize: vocab_size, specialIds } = loadTokenizer(join(folder, 'tokenizer.json'))
  const config = parseAnyConfig({
    model_type: 'switch_transformers',
    vocab_size,
    ...{ d_model: 32, d_kv: 8, d_ff: 48, num_heads: 4, num_layers: 2, num_decoder_layers: 2 },
    ...{ num_sparse_encoder_layers: 1, num_sparse_decoder_layers: 1, num_experts: 4, expert_capacity: 32 },
    ...{ pad_token_id: 0, decoder_start_token_id: 0, eos_token_id: specialIds.eos },
  })
  manualSeed(5)
  const model = createModel(config)
  saveModel(folder, model, config)
  model.dispose()
  return folder
}

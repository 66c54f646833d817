// A small Switch model with a byte tokenizer that has sentinels.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { byteTokenizerFiles } from '../../src/data/index.ts'
import { createModel, parseAnyConfig, saveModel } from '../../src/models/index.ts'
import { manualSeed } from '../../src/torch/index.ts'

/** Ids 0 to 2 are `<pad>`, `<s>` and `</s>` as the byte tokenizer has them. */
export function writeSwitch(folder: string, languages: readonly string[] = []): string {
  const files = byteTokenizerFiles()
  const tokenizer = JSON.parse(files['tokenizer.json'] ?? '{}')
  const first = Math.max(...tokenizer.added_tokens.map(({ id }: { id: number }) => id), ...ids(tokenizer)) + 1
  const more = [...Array.from({ length: 20 }, (_, i) => `<extra_id_${i}>`), ...languages]
  tokenizer.added_tokens.push(
    ...more.map((content, i) => ({ ...tokenizer.added_tokens[0], id: first + i, content })),
  )
  const vocab_size = first + more.length
  const eos = tokenizer.added_tokens.find(({ content }: { content: string }) => content === '</s>')?.id
  const config = parseAnyConfig({
    model_type: 'switch_transformers',
    vocab_size,
    ...{ d_model: 32, d_kv: 8, d_ff: 48, num_heads: 4, num_layers: 2, num_decoder_layers: 2 },
    ...{ num_sparse_encoder_layers: 1, num_sparse_decoder_layers: 1, num_experts: 4, expert_capacity: 32 },
    ...{ pad_token_id: 0, decoder_start_token_id: 0, eos_token_id: eos },
  })
  manualSeed(5)
  const model = createModel(config)
  saveModel(folder, model, config)
  model.dispose()
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(folder, name), name === 'tokenizer.json' ? JSON.stringify(tokenizer) : text)
  return folder
}

const ids = ({ model }: { model: { vocab: Record<string, number> } }): number[] => Object.values(model.vocab)

// The model that decoding is measured with, as a GGUF file of random weights, and how much of it a token reads.

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { byteTokenizerFiles } from '../../src/data/index.ts'
import {
  drawnSource,
  type MixtralConfig,
  openSource,
  parseModelConfig,
  parseTypeRules,
  tokenizerMetadata,
  writeGgufModel,
} from '../../src/models/index.ts'

/** Mixtral-style, of 707M parameters; a token passes 197M, the head with them and the embedding not. */
export const decodingModel = parseModelConfig(
  {
    model_type: 'mixtral',
    vocab_size: 8192,
    hidden_size: 1024,
    intermediate_size: 2048,
    num_hidden_layers: 12,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    num_local_experts: 8,
    num_experts_per_tok: 2,
    max_position_embeddings: 16_384,
  },
  'decoding model',
) as MixtralConfig

/** Files are kept: writing 700M parameters takes half a minute or more. Remove the folder to write them anew. */
const folder = fileURLToPath(new URL('../../build/benchmarks/models', import.meta.url))

/** The path of that model in blocks of a type, written when it is not there yet. */
export const storedModel = (type: string): string => written(decodingModel, 'decode', type)

/** A model of 3 GiB in Q8_0, nearly all of it experts: 160 in each layer, four of which a token passes. */
export const largeModel: MixtralConfig = {
  ...decodingModel,
  ...{ hidden_size: 512, intermediate_size: 1024, num_attention_heads: 8, num_key_value_heads: 4 },
  ...{ num_local_experts: 160, num_experts_per_tok: 4 },
  initializer_range: 0.1, // by the usual 0.02 all tokens of a text come to look alike, and choose the same experts
}

/** The path of a small model for many clients: its weights stay in a processor's caches. */
export function servedStoredModel(): string {
  const sizes = { hidden_size: 256, intermediate_size: 512, num_attention_heads: 4, num_key_value_heads: 2 }
  return written({ ...decodingModel, ...sizes, num_hidden_layers: 4, vocab_size: 512 }, 'served', 'q8_0')
}

/** The path of one with 32 small experts in each of 4 layers, of which a token passes 4. */
export function groupedStoredModel(): string {
  const sizes = { hidden_size: 128, intermediate_size: 64, num_attention_heads: 4, num_key_value_heads: 2 }
  const experts = { num_local_experts: 32, num_experts_per_tok: 4, num_hidden_layers: 4, vocab_size: 512 }
  return written({ ...decodingModel, ...sizes, ...experts, initializer_range: 0.1 }, 'grouped', 'q8_0')
}

/** The path of that model, written when it is not there yet: some minutes. */
export const largeStoredModel = (): string => written(largeModel, 'large', 'q8_0', 0)

function written(config: MixtralConfig, name: string, type: string, skew = 0.5): string {
  const file = join(folder, `${name}-${type}.gguf`)
  if (existsSync(file)) return file
  console.log(`writing ${file}`)
  mkdirSync(folder, { recursive: true })
  const tokenizer = paddedTokenizer(config.vocab_size)
  writeGgufModel(drawnSource(config, { seed: 1, skew }), file, {
    ...{ rules: parseTypeRules(type, 'types'), name: 'benchmark', tokenizer },
  })
  return file
}

/** llama.cpp opens no file without one: bytes, and unused tokens for the rest of the vocabulary. */
function paddedTokenizer(vocab: number): ReturnType<typeof tokenizerMetadata> {
  const scratch = mkdtempSync(join(tmpdir(), 'switchyard-tokenizer-'))
  try {
    for (const [name, content] of Object.entries(byteTokenizerFiles()))
      writeFileSync(join(scratch, name), content)
    return tokenizerMetadata(scratch, vocab)
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

/** Bytes of weights that a token's products read: everything but the embedding, and of experts the chosen ones. */
export function bytesPerToken(file: string): number {
  const { tensors } = openSource(file)
  const share = decodingModel.num_experts_per_tok / decodingModel.num_local_experts
  let sum = 0
  for (const [name, tensor] of tensors) {
    if (name === 'token_embd.weight') continue
    const bytes = tensor.ranges().reduce((total, { length }) => total + length, 0)
    sum += name.includes('_exps.') ? bytes * share : bytes
  }
  return sum
}

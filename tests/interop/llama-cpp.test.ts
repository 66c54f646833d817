// llama.cpp opens what we write and computes the same: an independent reader of names, layouts, blocks and metadata.
// `make test-interop` fetches it; without it these tests are skipped.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { byteTokenizerFiles, loadTokenizer, trainBpe } from '../../src/data/index.ts'
import { type GgmlTypeName, ggmlTypes, readGgufHeader, writeGguf } from '../../src/formats/index.ts'
import {
  type CausalLM,
  createModel,
  noTokenizer,
  openModel,
  openSource,
  parseModelConfig,
  parseTypeRules,
  saveModel,
  tokenizerMetadata,
  tokensOfSequences,
  uniformSource,
  writeGgufModel,
} from '../../src/models/index.ts'
import { inferenceMode, manualSeed, noGrad, tensor, tidy } from '../../src/torch/index.ts'

const here = fileURLToPath(new URL('.', import.meta.url))
const isThere = existsSync(join(here, 'node_modules/node-llama-cpp'))
if (!isThere) console.warn('llama.cpp is not there: its tests are skipped; make test-interop fetches it')

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-interop-'))
afterAll(() => rmSync(scratch, { recursive: true }))

interface Answer {
  ids: number[]
  probabilities: [id: number, probability: number][]
}

function llama(model: string, prompts: readonly number[][], tokens: number): Answer[] {
  const input = JSON.stringify({ model, prompts, tokens })
  const output = execFileSync(process.execPath, [join(here, 'llama.mjs')], { input, maxBuffer: 1 << 28 })
  return JSON.parse(output.toString()) as Answer[]
}

const shared = {
  vocab_size: 259, // the byte tokenizer's
  hidden_size: 256,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
  pad_token_id: 0,
  bos_token_id: 1,
  eos_token_id: 2,
}

const configs = {
  mixtral: { ...shared, intermediate_size: 256, num_local_experts: 4, num_experts_per_tok: 2 },
  qwen3_moe: {
    ...shared,
    intermediate_size: 512,
    moe_intermediate_size: 256,
    head_dim: 64,
    num_experts: 8,
    num_experts_per_tok: 3,
    norm_topk_prob: true,
  },
  deepseek_v2: {
    ...shared,
    intermediate_size: 512,
    moe_intermediate_size: 256,
    n_routed_experts: 8,
    num_experts_per_tok: 3,
    n_shared_experts: 2,
    first_k_dense_replace: 1,
    routed_scaling_factor: 1.5,
    q_lora_rank: 256, // without it llama.cpp expects the 27 layers of V2-Lite,
    kv_lora_rank: 256,
    qk_nope_head_dim: 64,
    qk_rope_head_dim: 64,
    v_head_dim: 64,
  },
  deepseek_v3: {
    ...shared,
    intermediate_size: 512,
    moe_intermediate_size: 256,
    n_routed_experts: 8,
    num_experts_per_tok: 2,
    n_shared_experts: 1,
    first_k_dense_replace: 1,
    n_group: 4,
    topk_group: 2,
    routed_scaling_factor: 2.5,
    q_lora_rank: 256,
    kv_lora_rank: 256,
    qk_nope_head_dim: 64,
    qk_rope_head_dim: 64,
    v_head_dim: 64,
  },
  gpt_oss: {
    ...shared,
    head_dim: 64,
    intermediate_size: 256,
    num_local_experts: 8,
    num_experts_per_tok: 3,
    sliding_window: 8,
  },
  olmoe: {
    ...shared,
    num_key_value_heads: 4,
    intermediate_size: 256,
    num_experts: 8,
    num_experts_per_tok: 3,
  },
}

const prompts = [
  [1, 70, 103, 111, 114, 35, 119, 107, 104],
  [1, 200, 5, 5, 90, 33],
]

/** A folder with a random model of a type, and the model. */
function randomModel(model_type: keyof typeof configs): { folder: string; model: CausalLM } {
  const folder = join(scratch, model_type)
  if (!existsSync(folder)) {
    const config = parseModelConfig({ model_type, ...configs[model_type] }, model_type)
    manualSeed(11)
    const model = createModel(config)
    // Weights larger than at the start of training, so that logits are far apart.
    noGrad(() => {
      for (const parameter of model.parameters()) if (parameter.ndim > 1) parameter.mul_(4)
    })
    mkdirSync(folder)
    saveModel(folder, model, config)
    for (const [name, content] of Object.entries(byteTokenizerFiles()))
      writeFileSync(join(folder, name), content)
    model.dispose()
  }
  return { folder, model: openModel(folder).load({ kind: 'decoder' }) }
}

function writeAs(folder: string, types: string): string {
  const file = `${folder}-${types}.gguf`
  const tokenizer = tokenizerMetadata(folder, shared.vocab_size)
  expect(tokenizer).not.toBe(noTokenizer)
  writeGgufModel(openSource(folder), file, { rules: parseTypeRules(types, 'types'), name: 'test', tokenizer })
  return file
}

/**
 * How far below our best logit each token lies that another wrote after a prompt: 0 for our own greedy choice. It reads the
 * other's tokens, so that one near tie that is decided otherwise does not hide what follows.
 */
function behindOurBest(model: CausalLM, prompt: readonly number[], written: readonly number[]): number[] {
  return inferenceMode(() =>
    tidy(() => {
      const ids = [...prompt, ...written.slice(0, -1)]
      const { logits } = model.forward(tokensOfSequences([ids]))
      const scores = logits.narrow(0, prompt.length - 1, written.length) // [tokens, V]
      const chosen = scores.gather(1, tensor(written.map(BigInt)).unsqueeze(1)).squeeze(1)
      return Array.from(scores.amax([-1]).sub(chosen).toTypedArray<'f32'>())
    }),
  )
}

/** Natural logarithms of the first new token's probabilities. */
function logProbabilities(model: CausalLM, prompt: readonly number[]): Float32Array {
  return inferenceMode(() =>
    tidy(() => {
      const { logits } = model.forward(tokensOfSequences([prompt]), { logitsAt: 'last' })
      return logits.select(0, 0).logSoftmax(-1).toTypedArray<'f32'>()
    }),
  )
}

/** Where the half-precision scales of types that we only read stand in a block, and how large they may be for weights of 0.1. */
const scales: Partial<Record<GgmlTypeName, [at: number[], largest: number]>> = {
  Q4_1: [[0, 2], 0.01],
  Q5_0: [[0], 0.01],
  Q5_1: [[0, 2], 0.005],
  Q2_K: [[80, 82], 0.005],
  Q3_K: [[108], 0.002],
  Q5_K: [[0, 2], 2e-4],
  IQ4_NL: [[0], 0.002],
  IQ4_XS: [[0], 6e-5],
}

/** A file like another, with random blocks of a type for all experts. */
function withRandomExperts(from: string, type: GgmlTypeName): string {
  const header = readGgufHeader(from)
  const content = readFileSync(from)
  const [places = [], largest = 0] = scales[type] ?? []
  const { blockSize, blockBytes } = ggmlTypes[type]
  const uniform = uniformSource(5)
  const randomBlocks = (values: number): Uint8Array => {
    const bytes = Uint8Array.from({ length: (values / blockSize) * blockBytes }, () => uniform() * 256)
    for (let block = 0; block < bytes.length; block += blockBytes)
      for (const at of places) {
        const scale = tensor([largest * (0.5 + uniform() / 2)])
          .to('f16')
          .viewDtype('u8')
        bytes.set(scale.toTypedArray<'u8'>(), block + at)
      }
    return bytes
  }
  const tensors = [...header.tensors.values()].map(entry => {
    const isExpert = entry.name.includes('_exps.')
    const values = entry.shape.reduce((a, b) => a * b, 1)
    const bytes = isExpert
      ? randomBlocks(values)
      : content.subarray(entry.offset, entry.offset + entry.length)
    return { name: entry.name, type: isExpert ? type : entry.type, shape: entry.shape, chunks: () => [bytes] }
  })
  const file = `${from}-${type}.gguf`
  writeGguf(file, header.metadata, tensors)
  return file
}

describe.skipIf(!isThere)('llama.cpp', () => {
  test('a tokenizer that was trained here gives the same ids there', async () => {
    const folder = join(scratch, 'tokens')
    mkdirSync(folder)
    const sample = fileURLToPath(new URL('../../samples', import.meta.url))
    const text = ['bible', 'es', 'code']
      .map(name => readFileSync(join(sample, `${name}.jsonl`), 'utf8'))
      .join('\n')
    writeFileSync(join(folder, 'tokenizer.json'), await trainBpe(text.split('\n'), { vocabSize: 1000 }))
    writeFileSync(join(folder, 'tokenizer_config.json'), byteTokenizerFiles()['tokenizer_config.json'] ?? '')
    const tokenizer = loadTokenizer(join(folder, 'tokenizer.json'))
    const config = parseModelConfig(
      { model_type: 'mixtral', ...configs.mixtral, vocab_size: tokenizer.vocabSize },
      'tokens',
    )
    saveModel(folder, createModel(config), config)
    const file = join(scratch, 'tokens.gguf')
    const metadata = tokenizerMetadata(folder, tokenizer.vocabSize)
    writeGgufModel(openSource(folder), file, {
      rules: parseTypeRules('f16', ''),
      name: 'tokens',
      tokenizer: metadata,
    })
    const texts = [
      'In the beginning',
      'func main() {\n\tx := 12345\n}',
      "it's  n't\n\n  \u00e9t\u00e9 \u65e5\u672c\u8a9e \ud83c\udf89",
      ' leading',
    ]
    const input = JSON.stringify({ model: file, texts })
    const output = execFileSync(process.execPath, [join(here, 'llama.mjs')], { input })
    expect(JSON.parse(output.toString())).toEqual(await tokenizer.encodeBatch(texts))
  })

  test.each(Object.keys(scales) as GgmlTypeName[])('%s: our reading of random blocks agrees', type => {
    const file = withRandomExperts(writeAs(randomModel('mixtral').folder, 'f32'), type)
    const ours = openModel(file).load({ kind: 'decoder' })
    const [answer] = llama(file, prompts.slice(0, 1), 1)
    const wanted = logProbabilities(ours, prompts[0] ?? [])
    for (const [id, probability] of answer?.probabilities.slice(0, 8) ?? [])
      expect(Math.abs(Math.log(probability) - (wanted[id] ?? 0))).toBeLessThan(0.25) // as below
  })

  describe.each(Object.keys(configs) as (keyof typeof configs)[])('%s', type => {
    // In f32 only the order of sums differs. With f16 weights llama.cpp rounds activations to f16 too: 2^-11 of logits of
    // size 10, at random over 14 products in a row, is 0.02.
    test.each([
      ['f32', 1e-3],
      ['f16', 0.05],
    ] as const)('%s: the same greedy tokens, ties within %s apart', (types, tie) => {
      const { folder } = randomModel(type)
      const file = writeAs(folder, types)
      const ours = openModel(file).load({ kind: 'decoder' })
      const answers = llama(file, prompts, 16)
      for (const [i, prompt] of prompts.entries()) {
        const behind = behindOurBest(ours, prompt, answers[i]?.ids ?? [])
        expect(behind.length).toBe(16)
        expect(Math.max(...behind)).toBeLessThan(tie)
      }
    })

    test.each([
      'q8_0',
      'q4_0',
      'q4_k',
      'q6_k',
      'iq4_nl',
      'experts=iq4_xs',
      'experts=mxfp4',
      'q8_0,experts=q4_k,attention=bf16',
    ])('%s: our reading of our own blocks agrees with llama.cpp', types => {
      const { folder } = randomModel(type)
      const file = writeAs(folder, types)
      const ours = openModel(file).load({ kind: 'decoder' })
      const [answer] = llama(file, prompts.slice(0, 1), 1)
      const wanted = logProbabilities(ours, prompts[0] ?? [])
      // llama.cpp rounds activations to 8 bits per 32 (or 256) before it multiplies: relative steps of 1 / 254 of the
      // largest in each product, which add up at random over two layers' chains of 7 products.
      for (const [id, probability] of answer?.probabilities.slice(0, 8) ?? [])
        expect(Math.abs(Math.log(probability) - (wanted[id] ?? 0))).toBeLessThan(0.25)
    })
  })
})

import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../../tests/support/tensors.ts'
import { byteTokenizer, byteTokenizerFiles, loadTokenizer, type Tokenizer } from '../../../data/index.ts'
import { readGgufHeader, writeGguf } from '../../../formats/index.ts'
import { manualSeed, type Tensor, tensor } from '../../../torch/index.ts'
import {
  chatTemplateOf,
  copyTokenizer,
  createModel,
  noTokenizer,
  openModel,
  openSource,
  parseModelConfig,
  parseTypeRules,
  saveModel,
  type TypeRules,
  tokenizerMetadata,
  verifyModel,
  type WriteFolderOptions,
  type WrittenFolder,
  writeGgufModel,
  writeModelFolder,
} from '../../index.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../../tests/fixtures/${name}`, import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const f32 = parseTypeRules('f32', 'types')
const bytesOf = (folder: string, file = 'model.safetensors'): Buffer => readFileSync(join(folder, file))

function toFolder(from: string, folder: string, options: WriteFolderOptions = {}): WrittenFolder {
  return writeModelFolder(folder, openSource(from), options)
}

function toGguf(from: string, file: string, rules: TypeRules = f32): string {
  writeGgufModel(openSource(from), file, { rules, name: 'test', tokenizer: noTokenizer })
  return file
}

describe.each(['mixtral', 'olmoe', 'deepseek_v2', 'deepseek_v3', 'gpt_oss'])('%s', name => {
  test('to GGUF and back is the same file, and the GGUF computes what transformers recorded', async () => {
    const file = toGguf(fixture(name), join(scratch, `${name}.gguf`))
    const checks = await verifyModel(file, join(fixture(name), 'reference.safetensors'), 1e-5)
    expect(checks.every(check => check.ok)).toBe(true)
    const back = join(scratch, `${name}-back`)
    toFolder(file, back)
    expect(bytesOf(back).equals(bytesOf(fixture(name)))).toBe(true)
  })
})

test.each([
  ['qwen3_moe', 'layer 0 is dense'],
  ['granitemoe', 'granitemoe has no GGUF architecture here; these have: mixtral, qwen3_moe'],
])('%s cannot be GGUF: %s', (name, message) =>
  expect(() => toGguf(fixture(name), join(scratch, 'none.gguf'))).toThrow(message),
)

test('converting leaves no tensor behind, so that memory stays that of a few parameters', () => {
  expectNoLeak(() => toGguf(fixture('mixtral'), join(scratch, 'leak.gguf'), parseTypeRules('q8_0', 'x')))
  expectNoLeak(() => toFolder(fixture('mixtral'), join(scratch, 'leak')))
})

describe('folders', () => {
  test('experts one by one, stacked and one by one again are the same file', () => {
    const [stacked, single] = [join(scratch, 'stacked'), join(scratch, 'single')]
    toFolder(fixture('mixtral'), stacked, { experts: 'stacked' })
    expect(openSource(stacked).tensors.has('model.layers.0.mlp.experts.gate_up_proj')).toBe(true)
    toFolder(stacked, single)
    expect(bytesOf(single).equals(bytesOf(fixture('mixtral')))).toBe(true)
  })

  test('shards hold every tensor once, none is larger than wanted, and they merge to the same file', () => {
    const [sharded, merged] = [join(scratch, 'sharded'), join(scratch, 'merged')]
    const { files } = toFolder(fixture('mixtral'), sharded, { shardBytes: 40_000 })
    const shards = readdirSync(sharded).filter(name => name.endsWith('.safetensors'))
    expect(shards.length).toBe(files)
    expect(files).toBeGreaterThan(3)
    for (const shard of shards) expect(bytesOf(sharded, shard).length).toBeLessThan(40_000 + 4000) // and its header
    toFolder(sharded, merged)
    expect(bytesOf(merged).equals(bytesOf(fixture('mixtral')))).toBe(true)
  })

  test('another dtype rounds, and widens back to what it rounded to', () => {
    const half = join(scratch, 'bf16')
    toFolder(fixture('olmoe'), half, { dtype: 'bf16' })
    const rounded = openModel(half).load().stateDict()
    for (const [path, value] of openModel(fixture('olmoe')).load().stateDict()) {
      const isRouter = value.declaration.role === 'router'
      expectClose(rounded.get(path) ?? value.neg(), isRouter ? value : value.to('bf16').float(), 0)
    }
  })

  test.each(['deepseek_v3', 'glm4_moe'])(
    '%s: routers and their biases keep every bit in bf16',
    async name => {
      const json = JSON.parse(readFileSync(join(fixture(name), 'config.json'), 'utf8')) as object
      const sizes = { n_routed_experts: 256, num_experts_per_tok: 4, num_hidden_layers: 2 }
      const config = parseModelConfig({ ...json, ...sizes, first_k_dense_replace: 1 }, name)
      const [wide, half, back] = ['wide', 'half', 'wide-again'].map(part =>
        join(scratch, `${name}-${part}`),
      ) as [string, string, string]
      using model = createModel(config)
      const path = 'model.layers.1.mlp.gate.e_score_correction_bias'
      const bias = Float32Array.from({ length: 256 }, (_, i) => 0.5 + i * 1e-4)
      model.namedBuffers().get(path)?.copy_(tensor(bias))
      saveModel(wide, model, config)
      toFolder(wide, half, { dtype: 'bf16' })
      expect(openSource(half).tensors.get(path)?.encoding).toBe('F32')
      expect(openSource(half).tensors.get('model.norm.weight')?.encoding).toBe('BF16')
      toFolder(half, back, { dtype: 'f32' })
      using loaded = openModel(back).load()
      const kept = loaded.stateDict().get(path)?.toTypedArray<'f32'>()
      expect(kept).toEqual(bias)
      expect(new Set(kept).size).toBe(256)
      const router = 'model.layers.1.mlp.gate.weight'
      expectClose(loaded.stateDict().get(router) as Tensor, model.stateDict().get(router) as Tensor, 0)
    },
  )
})

test('a file that names no score function but has the bias that selects experts is of sigmoid scores', async () => {
  const file = fixture('gguf/deepseek2-without-gating-func.gguf')
  expect(openModel(file).config.model_type).toBe('deepseek_v3')
  const checks = await verifyModel(file, join(fixture('deepseek_v3'), 'reference.safetensors'), 1e-4)
  expect(checks.filter(check => !check.ok)).toEqual([])
})

test('one that has neither is of softmax scores', () => {
  const file = toGguf(fixture('deepseek_v2'), join(scratch, 'softmax.gguf'))
  const { metadata, tensors } = readGgufHeader(file)
  const without = new Map([...metadata].filter(([key]) => key !== 'deepseek2.expert_gating_func'))
  const bytes = readFileSync(file)
  const other = join(scratch, 'softmax-unsaid.gguf')
  writeGguf(
    other,
    without,
    [...tensors.values()].map(({ offset, length, ...tensor }) => ({
      ...tensor,
      *chunks() {
        yield bytes.subarray(offset, offset + length)
      },
    })),
  )
  expect(openModel(other).config.model_type).toBe('deepseek_v2')
})

test('NaN cannot be quantized, and nothing is left of the file', () => {
  const config = parseModelConfig(
    {
      model_type: 'mixtral',
      vocab_size: 16,
      hidden_size: 32,
      intermediate_size: 32,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      num_local_experts: 2,
    },
    'nan',
  )
  manualSeed(1)
  const model = createModel(config)
  model.stateDict().get('model.layers.0.mlp.experts.down_proj')?.detach().fill_(Number.NaN)
  const folder = join(scratch, 'nan')
  mkdirSync(folder)
  saveModel(folder, model, config)
  const file = join(scratch, 'nan.gguf')
  expect(() => toGguf(folder, file, parseTypeRules('q8_0', 'x'))).toThrow(
    'blk.0.ffn_down_exps.weight: has NaN or infinite values, which Q8_0 cannot hold',
  )
  expect(readdirSync(scratch).filter(name => name.startsWith('nan.gguf'))).toEqual([])
})

describe('other layouts of GGUF', () => {
  /** The mixtral fixture's file with tensors changed. */
  function changed(
    name: string,
    change: (tensors: Map<string, { shape: number[]; bytes: Buffer }>) => void,
  ): string {
    const from = toGguf(fixture('mixtral'), join(scratch, 'plain.gguf'))
    const content = readFileSync(from)
    const header = readGgufHeader(from)
    const tensors = new Map(
      [...header.tensors].map(([key, { shape, offset, length }]) => [
        key,
        { shape, bytes: content.subarray(offset, offset + length) },
      ]),
    )
    change(tensors)
    const file = join(scratch, `${name}.gguf`)
    const sources = [...tensors].map(([key, { shape, bytes }]) => ({
      name: key,
      type: 'F32' as const,
      shape,
      chunks: () => [bytes],
    }))
    writeGguf(file, header.metadata, sources)
    return file
  }

  function expectSameModel(file: string): void {
    const [one, other] = [
      openModel(file).load().stateDict(),
      openModel(fixture('mixtral')).load().stateDict(),
    ]
    for (const [path, value] of other) expectClose(one.get(path) ?? value.neg(), value, 0)
  }

  test('experts one by one, as before April 2024', () =>
    expectSameModel(
      changed('old', tensors => {
        for (const [key, { shape, bytes }] of [...tensors]) {
          const [, layer, part] = /^blk\.(\d+)\.(ffn_\w+)_exps\.weight$/.exec(key) ?? []
          if (layer === undefined) continue
          const [experts = 0, ...rest] = shape
          const size = bytes.length / experts
          for (let e = 0; e < experts; e++)
            tensors.set(`blk.${layer}.${part}.${e}.weight`, {
              shape: rest,
              bytes: bytes.subarray(e * size, (e + 1) * size),
            })
          tensors.delete(key)
        }
      }),
    ))

  test('gate and up of experts as one', () =>
    expectSameModel(
      changed('gate-up', tensors => {
        for (const layer of [0, 1]) {
          const [gate, up] = ['gate', 'up'].map(part => tensors.get(`blk.${layer}.ffn_${part}_exps.weight`))
          if (!gate || !up) throw new Error('no such layer')
          const [experts = 0, width = 0, hidden = 0] = gate.shape
          const size = gate.bytes.length / experts
          const parts = Array.from({ length: experts }, (_, e) =>
            [gate, up].map(({ bytes }) => bytes.subarray(e * size, (e + 1) * size)),
          ).flat()
          tensors.set(`blk.${layer}.ffn_gate_up_exps.weight`, {
            shape: [experts, 2 * width, hidden],
            bytes: Buffer.concat(parts),
          })
          for (const part of ['gate', 'up']) tensors.delete(`blk.${layer}.ffn_${part}_exps.weight`)
        }
      }),
    ))

  test('missing and surplus tensors are listed', () => {
    const file = changed('odd', tensors => {
      const norm = tensors.get('output_norm.weight')
      tensors.delete('output_norm.weight')
      if (norm) tensors.set('rope_freqs.weight', norm)
    })
    expect(() => openModel(file).load()).toThrow(
      "tensors do not fit the file's metadata: missing output_norm.weight; surplus rope_freqs.weight",
    )
  })

  test('a model in two files', () => {
    const whole = toGguf(fixture('mixtral'), join(scratch, 'whole.gguf'))
    const content = readFileSync(whole)
    const { metadata, tensors } = readGgufHeader(whole)
    const parts = [0, 1].map(part => [...tensors.values()].filter((_, i) => i % 2 === part))
    for (const [part, own] of parts.entries()) {
      const counted = new Map(part === 0 ? metadata : [])
      counted.set('split.count', { type: 'u16', value: 2 })
      counted.set('split.no', { type: 'u16', value: part })
      const sources = own.map(({ name, type, shape, offset, length }) => ({
        name,
        type,
        shape,
        chunks: () => [content.subarray(offset, offset + length)],
      }))
      writeGguf(join(scratch, `split-0000${part + 1}-of-00002.gguf`), counted, sources)
    }
    expectSameModel(join(scratch, 'split-00001-of-00002.gguf'))
    cpSync(join(scratch, 'split-00001-of-00002.gguf'), join(scratch, 'renamed.gguf'))
    expect(() => openSource(join(scratch, 'renamed.gguf'))).toThrow('is part of a model in 2 files')
  })
})

describe('tokenizers in GGUF', () => {
  const texts = ['Hello, world!\n\tdef f(x): return x+1', 'naïve 日本語 🎉', '</s> <s>', '']

  function folderWith(name: string, files: Record<string, string>): string {
    const folder = join(scratch, name)
    cpSync(fixture('mixtral'), folder, { recursive: true })
    const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as { vocab_size: number }
    for (const [file, content] of Object.entries(files)) writeFileSync(join(folder, file), content)
    const size = loadTokenizer(join(folder, 'tokenizer.json')).vocabSize
    const parsed = parseModelConfig({ ...config, vocab_size: size + 5 }, name)
    saveModel(folder, createModel(parsed), parsed)
    return folder
  }

  async function expectSameIds(folder: string, other: Tokenizer): Promise<void> {
    const one = openModel(folder).tokenizer
    for (const text of texts) {
      const ids = await one.encode(text, { addSpecialTokens: true })
      expect(await other.encode(text, { addSpecialTokens: true })).toEqual(ids)
      expect(other.decode(ids)).toBe(one.decode(ids))
    }
    expect(other.specialIds).toEqual(one.specialIds)
  }

  test('byte-level BPE with a chat template goes there and back', async () => {
    const folder = folderWith('bytes', {
      ...byteTokenizerFiles(),
      'chat_template.jinja': '{{ messages[0].content }}',
    })
    const file = join(mkdtempSync(join(scratch, 'alone-')), 'bytes.gguf')
    const { vocab_size } = openSource(folder).config
    writeGgufModel(openSource(folder), file, {
      rules: f32,
      name: 'x',
      tokenizer: tokenizerMetadata(folder, vocab_size),
    })
    await expectSameIds(folder, openModel(file).tokenizer)
    expect(chatTemplateOf(file)).toBe('{{ messages[0].content }}')
    const again = join(mkdtempSync(join(scratch, 'alone-')), 'again.gguf')
    writeGgufModel(openSource(file), again, {
      rules: f32,
      name: 'x',
      tokenizer: tokenizerMetadata(file, vocab_size),
    })
    await expectSameIds(folder, openModel(again).tokenizer)
    const back = join(scratch, 'bytes-back')
    mkdirSync(back)
    copyTokenizer(file, back)
    await expectSameIds(folder, loadTokenizer(join(back, 'tokenizer.json')))
    expect(chatTemplateOf(back)).toBe('{{ messages[0].content }}')
  })

  test("SentencePiece's BPE goes there and back, its merges as scores", async () => {
    const space = '\u2581'
    const bytes = Array.from(
      { length: 256 },
      (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`,
    )
    const words = [
      space,
      'H',
      'e',
      'l',
      'o',
      'w',
      'r',
      'd',
      'el',
      'lo',
      'he',
      'ell',
      'ello',
      'Hello',
      `${space}Hello`,
      `${space}w`,
      'or',
      'wor',
      `${space}wor`,
      'ld',
      `${space}world`,
    ]
    const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...words]
    const merges = [
      'e l',
      'l o',
      'el lo',
      'H ello',
      `${space} Hello`,
      `${space} w`,
      'o r',
      `${space}w or`,
      'l d',
      `${space}wor ld`,
    ]
    const json = {
      version: '1.0',
      added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({
        id,
        content,
        special: true,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
      })),
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Prepend', prepend: space },
          { type: 'Replace', pattern: { String: ' ' }, content: space },
        ],
      },
      pre_tokenizer: null,
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
        pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
        special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
      },
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: space }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 1, stop: 0 },
        ],
      },
      model: {
        type: 'BPE',
        unk_token: '<unk>',
        fuse_unk: true,
        byte_fallback: true,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges,
      },
    }
    const config = { bos_token: '<s>', eos_token: '</s>' }
    const folder = folderWith('pieces', {
      'tokenizer.json': JSON.stringify(json),
      'tokenizer_config.json': JSON.stringify(config),
    })
    const file = join(mkdtempSync(join(scratch, 'alone-')), 'pieces.gguf')
    const tokenizer = tokenizerMetadata(folder, tokens.length + 5)
    expect(tokenizer.get('tokenizer.ggml.model')?.value).toBe('llama')
    writeGgufModel(openSource(folder), file, { rules: f32, name: 'x', tokenizer })
    const other = openModel(file).tokenizer
    const one = openModel(folder).tokenizer
    for (const text of ['Hello world', 'Hello  wor', 'hello é']) {
      const ids = await one.encode(text, { addSpecialTokens: true })
      expect(await other.encode(text, { addSpecialTokens: true })).toEqual(ids)
      expect(other.decode(ids, { skipSpecialTokens: true })).toBe(text)
    }
  })

  test('a rule of cutting texts that GGUF has no name for is refused', () => {
    const json = JSON.parse(byteTokenizerFiles()['tokenizer.json'] ?? '') as object
    const odd = {
      ...json,
      pre_tokenizer: { type: 'Split', pattern: { Regex: 'x' }, behavior: 'Isolated', invert: false },
    }
    const folder = folderWith('odd', { 'tokenizer.json': JSON.stringify(odd) })
    expect(() => tokenizerMetadata(folder, byteTokenizer().vocabSize)).toThrow(
      'cuts texts by rules that llama.cpp has no name for',
    )
  })
})

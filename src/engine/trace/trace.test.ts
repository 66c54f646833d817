// Recordings of routing: written and read, damaged in every way, and made by a model.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { type CausalLM, createModel, openModel, parseModelConfig } from '../../models/index.ts'
import { inferenceMode, tensor, tidy } from '../../torch/index.ts'
import { emptySlot } from './choices.ts'
import { prefixBytes, recordBytes, type TraceSource } from './header.ts'
import { readChoices, TraceReader } from './read.ts'
import { recordRouting } from './record.ts'
import { type TokenRecord, TraceWriter } from './write.ts'

const folder = temporaryFolder()
const tsx = import.meta.resolve('tsx')
const fixtures = join(import.meta.dirname, '../../../tests/fixtures')
const source: TraceSource = { model: 'tiny', moeLayers: [1, 3], experts: 5, topK: 2, expertBytes: 48 }

const records: TokenRecord[] = [
  {
    id: 7,
    position: 0,
    experts: [
      [0, 4],
      [2, -1],
    ],
    weights: [
      [0.75, 0.25],
      [1, 0],
    ],
  },
  {
    id: 9,
    position: 1,
    experts: [
      [3, 1],
      [0, 1],
    ],
    weights: [
      [0.5, 0.5],
      [0.125, 0.875],
    ],
  },
  { id: 70000, position: 0, experts: [[4, 2], [1]], weights: [[0.5, 0.5], [0.5]] },
]

function written(name: string, tokens: readonly TokenRecord[] = records, about = source): string {
  const file = join(folder, name)
  using writer = new TraceWriter(file, about)
  for (const token of tokens) writer.add(token)
  writer.finish()
  return file
}

describe('a recording', () => {
  test('gives back what was written', () => {
    using trace = new TraceReader(written('small'))
    expect(trace.header).toEqual({ version: 1, ...source, tokens: 3, texts: 2 })
    const [block, ...rest] = [...trace.blocks()]
    expect(rest).toEqual([])
    expect(block).toEqual({
      ids: Uint32Array.of(7, 9, 70000),
      positions: Uint32Array.of(0, 1, 0),
      chosen: Uint16Array.of(0, 4, 2, emptySlot, 3, 1, 0, 1, 4, 2, 1, emptySlot),
      weights: Float32Array.of(0.75, 0.25, 1, 0, 0.5, 0.5, 0.125, 0.875, 0.5, 0.5, 0.5, 0),
    })
  })

  test('of several blocks keeps its order', () => {
    const many = { ...source, moeLayers: Array.from({ length: 500 }, (_, i) => i) }
    const choice = { experts: many.moeLayers.map(() => [0, 1]), weights: many.moeLayers.map(() => [1, 1]) }
    const tokens = Array.from({ length: 400 }, (_, t) => ({ id: t, position: t % 150, ...choice }))
    const { header, choices } = readChoices(written('large', tokens, many))
    expect(header.tokens * recordBytes(header)).toBeGreaterThan(2 * 2 ** 20)
    expect(header).toMatchObject({ tokens: 400, texts: 3 })
    expect([...choices.positions]).toEqual(tokens.map(({ position }) => position))
  })

  test('keeps names that take more bytes than characters', () => {
    const model = 'modèle/模型'
    expect(readChoices(written('named', records, { ...source, model })).header).toMatchObject({
      model,
      tokens: 3,
    })
  })

  test('without tokens can be read', () => {
    expect(readChoices(written('empty', [])).header).toMatchObject({ tokens: 0, texts: 0 })
  })
})

describe('a recording that does not come to its end leaves no file', () => {
  const temporaries = (): string[] => readdirSync(folder).filter(name => name.includes('.tmp-'))

  test('when it is given up', () => {
    {
      using writer = new TraceWriter(join(folder, 'given-up'), source)
      writer.add(records[0] as TokenRecord)
      expect(temporaries()).toHaveLength(1)
    }
    expect(temporaries()).toEqual([])
    expect(readdirSync(folder)).not.toContain('given-up')
  })

  test('when it cannot take its place', () => {
    const place = join(folder, 'taken')
    mkdirSync(place)
    writeFileSync(join(place, 'something'), '')
    using writer = new TraceWriter(place, source)
    for (const record of records) writer.add(record)
    expect(() => writer.finish()).toThrow()
    expect(temporaries()).toEqual([])
  })

  test('when the disk is full, and what was there before stays', () => {
    const before = readFileSync(written('full'))
    const code = `
      import { TraceWriter } from ${JSON.stringify(join(import.meta.dirname, 'write.ts'))}
      process.on('SIGXFSZ', () => {})
      const layers = Array.from({ length: 100 }, () => [0, 1])
      const writer = new TraceWriter('full', {
        model: 'm', moeLayers: [...layers.keys()], experts: 2, topK: 2, expertBytes: null,
      })
      try {
        for (let t = 0; ; t++) writer.add({ id: t, position: t, experts: layers, weights: layers })
      } catch (error) {
        console.log(error.code)
      }`
    writeFileSync(join(folder, 'fill.ts'), code)
    // The system refuses to let a file grow beyond two megabytes.
    const shell = `ulimit -f 2048; exec ${process.execPath} --import ${tsx} fill.ts`
    const { stdout, stderr } = spawnSync('bash', ['-c', shell], { cwd: folder, encoding: 'utf8' })
    expect({ stdout, stderr }).toEqual({ stdout: 'EFBIG\n', stderr: '' })
    expect(temporaries()).toEqual([])
    expect(readFileSync(join(folder, 'full'))).toEqual(before)
  })
})

test.each([
  [{ experts: 65_536 }, 'source: experts must be at most 65535, got 65536'],
  [{ model: 'x'.repeat(70_000) }, 'source: takes 70131 bytes of header, more than 65536'],
])('a source that no reader would accept is refused: %#', (wrong, message) => {
  expect(() => new TraceWriter(join(folder, 'never'), { ...source, ...wrong })).toThrow(message)
  expect(readdirSync(folder).filter(name => name.startsWith('never'))).toEqual([])
})

describe('a file that is not whole or not ours gets one line that says so', () => {
  const bytes = readFileSync(written('whole'))
  const headerBytes = bytes.readUInt32LE(8)
  const json = bytes.subarray(prefixBytes, prefixBytes + headerBytes).toString()

  function problemOf(content: Uint8Array): string {
    const file = join(folder, 'damaged')
    writeFileSync(file, content)
    try {
      readChoices(file)
    } catch (error) {
      const { name, message } = error as Error
      return `${name} ${message.replace(`${file}: `, '')}`
    }
    return 'read'
  }

  /** The header with a field replaced, in the same length. */
  const withHeader = (from: string, to: string): Buffer => {
    expect(json).toContain(from)
    const changed = json.replace(from, to).trimEnd().padEnd(headerBytes)
    return Buffer.concat([
      bytes.subarray(0, prefixBytes),
      Buffer.from(changed),
      bytes.subarray(prefixBytes + headerBytes),
    ])
  }

  const patched = (offset: number, ...values: number[]): Buffer => {
    const copy = Buffer.from(bytes)
    copy.set(values, prefixBytes + headerBytes + offset)
    return copy
  }

  test.each([
    [
      'an empty file',
      () => Buffer.alloc(0),
      /^FormatError has 0 bytes and is no recording of routing; make one with/,
    ],
    ['a foreign one', () => Buffer.alloc(100, 'x'), /^FormatError is no recording of routing; make one with/],
    [
      'a truncated one',
      () => bytes.subarray(0, -1),
      /3 tokens take 96 bytes, but 95 follow the header: it is truncated/,
    ],
    [
      'one cut at a record',
      () => bytes.subarray(0, -32),
      /but 64 follow the header: it is truncated; record it again/,
    ],
    ['one with more', () => Buffer.concat([bytes, Buffer.of(0)]), /but 97 follow the header: it is damaged/],
    [
      'a header cut short',
      () => bytes.subarray(0, 40),
      /header says it is \d+ bytes long, but the file has 40/,
    ],
    ['no JSON', () => withHeader('{', '['), /header is not JSON: the file is damaged/],
    [
      'another version',
      () => withHeader('"version":1', '"version":2'),
      /header: version must be one of 1, got 2: recorded by another version/,
    ],
    ['no experts', () => withHeader('"experts":5', '"experts":0'), /header: experts must be above 0, got 0/],
    [
      'a huge top k',
      () => withHeader('"topK":2', '"topK":9e9'),
      /header: topK must be at most 4096, got 9000000000/,
    ],
    [
      'more tokens than bytes',
      () => withHeader('"tokens":3', '"tokens":9e15'),
      /it is truncated; record it again/,
    ],
    [
      'a name that a terminal would obey',
      () => withHeader('"tiny"', '"\\u001b"'),
      /header: model must have no control characters, got/,
    ],
    ['a field that nobody knows', () => withHeader('"texts"', '"words"'), /header/],
    ['an expert beyond the last', () => patched(8, 5, 0), /token 0 chose expert 5 of 5: the file is damaged/],
    [
      'a position out of order',
      () => patched(36, 9),
      /token 1 is at position 9 of its text, after 0: the file is damaged/,
    ],
  ] as [string, () => Uint8Array, RegExp][])('%s', (_, content, message) => {
    expect(problemOf(content())).toMatch(message)
    expect(problemOf(content())).toMatch(/^FormatError [^\n]+$/)
  })

  test('any bytes changed: it is read, or refused by its name', () => {
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(bytes.length), (at, value, length) => {
        const copy = Buffer.from(bytes)
        copy[at] = value
        expect(problemOf(copy.subarray(0, length === 0 ? bytes.length : length))).toMatch(
          /^(read$|FormatError )/,
        )
      }),
      { numRuns: 300 },
    )
  })
})

describe('a model is recorded', () => {
  test('with what its routers decide, each text from its first token on', async () => {
    const model = openModel(join(fixtures, 'olmoe')).load({ kind: 'decoder' })
    const texts = [
      [1, 2, 3, 4],
      [5, 6],
      [7, 8, 9],
    ]
    const file = join(folder, 'olmoe')
    const header = await recordRouting(model, [texts.slice(0, 2), texts.slice(2)], { file, name: 'olmoe' })
    expect(header).toMatchObject({ tokens: 9, texts: 3, model: 'olmoe' })
    const { choices } = readChoices(file)
    expect([...choices.positions]).toEqual([0, 1, 2, 3, 0, 1, 0, 1, 2])
    const alone = inferenceMode(() =>
      tidy(() => {
        const ids = tensor(Int32Array.of(7, 8, 9)).long()
        const tokens = { ids, starts: [0, 3], positions: tensor(Int32Array.of(0, 1, 2)).long(), extent: 3 }
        return model
          .forward(tokens)
          .routings.map(({ chosen }) =>
            chosen.kind === 'token' ? [...chosen.indices.to('i32').toTypedArray<'i32'>()] : [],
          )
      }),
    )
    const { layers, topK, chosen } = choices
    const recorded = alone.map((_, l) =>
      [6, 7, 8].flatMap(t => [...chosen.subarray((t * layers + l) * topK, (t * layers + l + 1) * topK)]),
    )
    expect(recorded).toEqual(alone)
  })

  test('but not one without experts', async () => {
    const config = { ...readConfig('mixtral'), model_type: 'mistral' }
    const dense = createModel(parseModelConfig(config, 'config.json')) as CausalLM
    const file = join(folder, 'dense')
    await expect(recordRouting(dense, [[[1, 2]]], { file, name: 'dense' })).rejects.toThrow(
      'dense: has no layers of experts to record',
    )
    expect(readdirSync(folder)).not.toContain('dense')
  })

  test('nor one whose tokens retrieve neurons', async () => {
    const fields = { hidden_size: 16, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 4 }
    const config = {
      ...{ ...fields, model_type: 'switchyard_moe', vocab_size: 50, num_key_value_heads: 2 },
      ...{ num_local_experts: 25, max_position_embeddings: 32, router: null, moe_layers: [1] },
      experts: { kind: 'peer', heads: 2, k: 3, querySize: 6 },
    }
    const model = createModel(parseModelConfig(config, 'config.json')) as CausalLM
    await expect(recordRouting(model, [[[1, 2]]], { file: join(folder, 'peer'), name: 'm' })).rejects.toThrow(
      "layer 1 routes by 'peer': only layers whose tokens choose experts can be recorded",
    )
  })

  test("and its layers keep the model's numbers where some are dense", async () => {
    const model = openModel(join(fixtures, 'deepseek_v3')).load({ kind: 'decoder' })
    const header = await recordRouting(model, [[[1, 2]]], { file: join(folder, 'dense-first'), name: 'm' })
    // 3 matrices of 16 x 32 in f32
    expect(header).toMatchObject({ moeLayers: [1], experts: 8, topK: 2, expertBytes: 3 * 16 * 32 * 4 })
  })

  test('nor nothing', async () => {
    const model = openModel(join(fixtures, 'olmoe')).load({ kind: 'decoder' })
    await expect(recordRouting(model, [], { file: join(folder, 'none'), name: 'm' })).rejects.toThrow(
      'm: no text to record: name another',
    )
  })
})

const readConfig = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(fixtures, name, 'config.json'), 'utf8'))

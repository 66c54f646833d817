// Whatever the scores of tokens are, a text has the form that its grammar says.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { byteTokenizer, parseTokenizer, StreamDecoder, type Tokenizer } from '../../data/index.ts'
import { byteLevelTokenizerJson } from '../../data/tokenizer-bytes.ts'
import { GrowingText, uniformSource } from '../../models/index.ts'
import { Grammars } from './grammars.ts'
import type { JsonSchema, TextGrammar } from './text-grammar.ts'

const bytes = byteTokenizer()
const eos = (tokenizer: Tokenizer): number => tokenizer.specialIds.eos as number
const room = { max_position_embeddings: 1e6 }

/** A text of tokens that are drawn by chance; null when it was not over within as many tokens. */
async function drawn(
  grammars: Grammars,
  grammar: TextGrammar,
  { tokenizer = bytes, seed = 0, tokens = 2000, temperature = 1, width = 0 } = {},
): Promise<string | null> {
  using constraint = await grammars.constraint(grammar)
  const config = { vocab_size: width || tokenizer.vocabSize + 5, eos_token_id: eos(tokenizer), ...room }
  const options = { seed, temperature, maxNewTokens: tokens }
  const text = new GrowingText(config as never, [eos(tokenizer)], options, { constraint })
  const uniform = uniformSource(seed + 1)
  const decoder = new StreamDecoder(tokenizer)
  let written = ''
  while (text.reason === null) {
    const token = text.extend(Float32Array.from({ length: config.vocab_size }, () => 8 * uniform() - 4))
    if (token) written += decoder.push(token.id)
  }
  return text.reason === 'end-of-text' ? written + decoder.flush() : null
}

const grammarsOf = (tokenizer: Tokenizer): Grammars =>
  new Grammars(tokenizer, tokenizer.vocabSize + 5, [eos(tokenizer)])
const grammars = grammarsOf(bytes)

/** Values that a schema allows, as another implementation sees it. */
const allows = (schema: JsonSchema, value: unknown): boolean =>
  z.fromJSONSchema(schema as never).safeParse(value).success

const name = fc.constantFrom('a', 'b"', 'c\\', 'd é', '')
const bound = fc.integer({ min: -1200, max: 1200 })
const leaf: fc.Arbitrary<Record<string, unknown>> = fc.oneof(
  fc.constantFrom({ type: 'boolean' }, { type: 'null' }, { type: 'integer' }, { type: 'number' }),
  fc
    .array(fc.oneof(fc.string(), fc.integer(), fc.constant(null)), { minLength: 1, maxLength: 4 })
    .map(values => ({ enum: values })),
  fc
    .tuple(bound, fc.nat(500))
    .map(([minimum, more]) => ({ type: 'integer', minimum, maximum: minimum + more })),
  fc
    .tuple(bound, fc.integer({ min: 1, max: 40 }))
    .map(([minimum, more]) => ({ type: 'number', minimum: minimum / 8, maximum: minimum / 8 + more + 1 })),
  fc
    .tuple(bound, fc.integer({ min: 2, max: 40 }))
    .map(([low, more]) => ({ type: 'integer', exclusiveMinimum: low, exclusiveMaximum: low + more })),
  fc
    .tuple(fc.nat(3), fc.nat(4))
    .map(([minLength, more]) => ({ type: 'string', minLength, maxLength: minLength + more })),
  fc
    .constantFrom('[a-c]{2,3}x?', '(ab|cd)+', '\\d{2}-\\w*', '[^', 'a.b')
    .filter(pattern => pattern !== '[^')
    .map(pattern => ({ type: 'string', pattern: `^${pattern}$` })),
  fc.constantFrom('date', 'date-time', 'uuid', 'email', 'ipv4').map(format => ({ type: 'string', format })),
)
const { schema } = fc.letrec<{ schema: Record<string, unknown> }>(tie => ({
  schema: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leaf,
    fc
      .tuple(
        fc.dictionary(name, tie('schema'), { maxKeys: 3 }),
        fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
      )
      .map(([properties, isRequired]) => ({
        ...{ type: 'object', properties, additionalProperties: false },
        required: Object.keys(properties).filter((_, i) => isRequired[i]),
      })),
    fc
      .tuple(tie('schema'), fc.nat(2), fc.nat(2))
      .map(([items, minItems, more]) => ({ type: 'array', items, minItems, maxItems: minItems + more })),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map(anyOf => ({ anyOf })),
    fc.tuple(tie('schema'), tie('schema')).map(prefixItems => ({ type: 'array', prefixItems, items: false })),
  ),
}))

test('property: whatever is drawn satisfies the schema', async () => {
  let over = 0
  await fc.assert(
    fc.asyncProperty(schema, fc.nat(), fc.constantFrom(0, 0.7, 1, 50), async (wanted, seed, temperature) => {
      const text = await drawn(grammars, { jsonSchema: wanted }, { seed, temperature })
      if (text === null) return
      over++
      expect(text).not.toMatch(/\n/)
      const value: unknown = JSON.parse(text.replace(/[\u{10000}-\u{10ffff}]/gu, 'x')) // zod counts UTF-16 units
      if (!allows(wanted, value)) throw new Error(`${text} is not of ${JSON.stringify(wanted)}`)
    }),
    { numRuns: 150 },
  )
  expect(over).toBeGreaterThan(120) // strings without a bound may go on for long
})

test.each<[JsonSchema, RegExp]>([
  [{ type: 'object', properties: { x: { type: 'integer' } } }, /^\{("x": ?-?\d+)?\}$/], // others may be left out, and are
  [{ type: 'object', required: ['y'], additionalProperties: { type: 'null' } }, /^\{"y": ?null\}$/],
  [
    { type: 'object', additionalProperties: { type: 'null' }, propertyNames: { pattern: '^k[0-9]$' } },
    /^\{("k\d": ?null(, ?|\}$))*\}?$/,
  ],
  [
    {
      $ref: '#/$defs/tree',
      $defs: {
        tree: { anyOf: [{ const: 0 }, { type: 'array', items: { $ref: '#/$defs/tree' }, maxItems: 1 }] },
      },
    },
    /^(\[)*0?\]*$/,
  ],
  [{ oneOf: [{ type: 'null' }, { type: ['integer', 'boolean'] }] }, /^(null|true|false|-?\d+)$/],
  [{ type: ['string', 'null'], minLength: 2, maxLength: 2, title: 'T' }, /^(null|".{2}")$/su],
  [{ minLength: 1, maxLength: 1 }, /^"."$/su],
  [{ type: 'number', minimum: 0, maximum: 1 }, /^([01]|0\.\d{1,15})$/],
  [{ type: 'number', exclusiveMinimum: 999, exclusiveMaximum: 1000 }, /^999\.\d{1,12}$/], // more digits read as 1000
  [{ type: 'number', minimum: -1000, exclusiveMaximum: -999 }, /^-(1000|999\.\d{1,12})$/],
  [{ type: 'array', items: [{ const: 1 }, { const: 2 }] }, /^\[1, ?2\]$/], // as drafts before 2020-12 have it
  [{ items: [{ const: 1 }], additionalItems: { type: 'null' }, minItems: 2 }, /^\[1(, ?null)+\]$/],
  [{ type: 'string', enum: ['a', 7] }, /^"a"$/],
  [{}, /./],
  [true, /./],
])('%j', async (wanted, form) => {
  for (let seed = 0; seed < 5; seed++) {
    const text = await drawn(grammars, { jsonSchema: wanted }, { seed, tokens: 5000 })
    if (text === null) continue
    expect(text).toMatch(form)
    expect(JSON.parse(text)).toBeDefined()
  }
})

test('JSON mode: an object', async () => {
  const texts = await Promise.all([1, 2, 3, 4, 5, 6].map(seed => drawn(grammars, { json: true }, { seed })))
  const whole = texts.filter(text => text !== null)
  expect(whole.length).toBeGreaterThan(0)
  for (const text of whole) expect(typeof JSON.parse(text)).toBe('object')
})

describe('a schema that cannot be held to is refused by name', () => {
  const at = (path: string, problem: string): string => `grammar.jsonSchema${path}: ${problem}`
  const deep = Array.from({ length: 70 }).reduce<JsonSchema>(items => ({ type: 'array', items }), true)
  test.each<[JsonSchema, string]>([
    [{ not: {} }, at('.not', 'cannot be held to')],
    [
      { type: 'object', properties: { a: { type: 'string', format: 'iri' } } },
      at('.properties.a.format', 'iri cannot be held to; there are date,'),
    ],
    [{ type: 'frob' }, at('.type', '"frob" is no type of JSON')],
    [{ type: 'integer', multipleOf: 3 }, at('.multipleOf', 'cannot be held to')],
    [{ type: 'array', items: false, minItems: 1 }, at('.minItems', '1 are more than there may be')],
    [{ type: 'array', uniqueItems: true }, at('.uniqueItems', 'cannot be held to')],
    [
      { type: 'integer', minimum: 3, maximum: 2 },
      at('', 'has bounds between which no number can be written'),
    ],
    [{ type: 'integer', minLength: 2 }, at('.minLength', 'says nothing of integer')],
    [{ anyOf: [true], minimum: 1 }, at('.minimum', 'cannot be held to beside anyOf')],
    [{ oneOf: [{ type: 'integer' }, { type: 'number' }] }, at('.oneOf', 'can be held to only where')],
    [{ oneOf: [{ type: [] }, { type: 'number' }] }, at('.oneOf', 'can be held to only where')],
    [{ oneOf: [{ required: 'x' }, { type: 'null' }] }, at('.oneOf.required', 'must be a list of names')],
    [{ oneOf: [{ enum: 'x' }, { type: 'null' }] }, at('.oneOf.enum', 'must be a list')],
    [{ anyOf: null }, at('.anyOf', 'must be a list')],
    [{ oneOf: false }, at('.oneOf', 'must be a list')],
    [{ oneOf: Array.from({ length: 4000 }, (_, i) => ({ const: i })) }, at('.oneOf', 'makes the schema as')],
    [{ allOf: [true, true] }, at('.allOf', 'can be held to only with one schema')],
    [{ $ref: '#' }, at('', '# refers to itself')],
    [{ $ref: '#/$defs/a' }, at('.$ref', 'there is no #/$defs/a')],
    [{ $ref: '#/%' }, at('.$ref', 'there is no #/%')],
    [{ type: 'string', pattern: '('.repeat(5000) }, at('.pattern', 'has more than 1000 characters')],
    [{ $ref: 'https://example.org/x' }, at('.$ref', 'https://example.org/x is not in this schema')],
    [{ type: 'string', pattern: '(?=a)b' }, at('.pattern', 'has a group with (?, which cannot be enforced')],
    [{ type: 'string', pattern: '(\\w+ ?)*' }, at('.pattern', 'has a repetition within a repetition')],
    [{ type: 'string', pattern: '(a*b){2}' }, at('.pattern', 'has a repetition within a repetition')],
    [
      { type: 'string', pattern: `${'('.repeat(17)}a${')'.repeat(17)}` },
      at('.pattern', 'has groups nested deeper than 16'),
    ],
    [{ type: 'string', pattern: '[é-ü]' }, at('.pattern', 'has é in a class')],
    [
      { type: 'string', maxLength: 1e9 },
      at('.maxLength', 'makes the schema as costly as 1000000001 counted characters; with this'),
    ],
    [{ type: 'string', pattern: '((a{99}){99}){99}' }, at('.pattern', 'has {99}, which is too often')],
    [{ required: 'a' }, at('.required', 'must be a list of names')],
    [{ type: 'object', properties: { a: 5 } }, at('.properties.a', 'must be a JSON schema')],
    [false, at('', 'is false')],
    [deep, ': is nested deeper than 64'],
    [{ enum: ['x'.repeat(70_000)] }, at('', 'has 70013 characters; at most 65536 are taken')],
    [{ anyOf: new Array(2001).fill({ type: 'null' }) }, at('', 'has more than 2000 schemas')],
  ])('%#', async (wanted, message) => {
    await expect(grammars.constraint({ jsonSchema: wanted })).rejects.toThrow(message)
  })

  test('but one that is nested as deep as it may be is read', async () => {
    const pattern = `${'(a|'.repeat(16)}b${')?'.repeat(16)}`
    const nested = Array.from({ length: 63 }).reduce<JsonSchema>(
      one => ({ anyOf: [one, { type: 'null' }] }),
      { type: ['string', 'null'], pattern },
    )
    expect(await drawn(grammars, { jsonSchema: nested })).toMatch(/^(null|"[ab]?")$/)
  })

  test('and a grammar that is none, after which others are read', async () => {
    await expect(grammars.constraint({ ebnf: 'root ::= (' })).rejects.toThrow('grammar: cannot be read')
    expect(await drawn(grammars, { ebnf: 'root ::= "yes"' })).toBe('yes')
  })
})

test('a text is not ready while another grammar is compiled before it, and goes on then', async () => {
  using first = await grammars.constraint({ ebnf: 'root ::= "ab"' })
  const [a, b] = (await bytes.encode('ab')) as [number, number]
  const later = grammars.constraint({ jsonSchema: { type: 'string', maxLength: 300 } })
  first.accept(a)
  expect(first.isReady).toBe(false)
  using _ = await later
  expect(first.isReady).toBe(true)
  const allowed = first.allowed()
  expect((allowed[b >> 5] ?? 0) >>> (b & 31)).toBe(1)
})

test('a grammar that is none leaves those alone that are there', async () => {
  using one = await grammars.constraint({ ebnf: 'root ::= "a" "b"' })
  await expect(grammars.constraint({ ebnf: 'root ::= x' })).rejects.toThrow('grammar: cannot be read')
  one.accept((await bytes.encode('a'))[0] as number)
  expect(one.allowed().some(bits => bits !== 0)).toBe(true)
})

test('a vocabulary may be as wide as it likes', async () => {
  for (const width of [bytes.vocabSize, 288, 289]) {
    const own = new Grammars(bytes, width, [eos(bytes)])
    expect(await drawn(own, { ebnf: 'root ::= "yes"' }, { width })).toBe('yes')
  }
})

describe('the end', () => {
  const ids = (allowed: Int32Array): number[] =>
    Array.from({ length: bytes.vocabSize }, (_, id) => id).filter(
      id => ((allowed[id >> 5] ?? 0) >>> (id & 31)) & 1,
    )

  test('of a text is allowed where its grammar ends, and nowhere else', async () => {
    using constraint = await grammars.constraint({ ebnf: 'root ::= "ab" "c"?' })
    const [a, b, c] = await bytes.encode('abc')
    const seen: number[][] = []
    for (const id of [a, b, c] as number[]) {
      seen.push(ids(constraint.allowed()))
      constraint.accept(id)
    }
    seen.push(ids(constraint.allowed()))
    expect(seen).toEqual([[a], [b], [eos(bytes), c].toSorted((x = 0, y = 0) => x - y), [eos(bytes)]])
  })

  test('comes by itself where no token means it', async () => {
    using constraint = await grammars.constraint({ ebnf: 'root ::= "a"' }, [])
    const config = { vocab_size: bytes.vocabSize, eos_token_id: null, ...room }
    const text = new GrowingText(config as never, [5], {}, { constraint })
    expect(text.extend(new Float32Array(bytes.vocabSize))).toMatchObject({ id: (await bytes.encode('a'))[0] })
    expect(text.extend(new Float32Array(bytes.vocabSize))).toBeNull()
    expect(text.reason).toBe('end-of-text')
  })
})

test('property: rules that allow all change nothing', () => {
  const allowed = new Int32Array(9).fill(-1)
  const options = fc.record({
    temperature: fc.constantFrom(0, 0.5, 2),
    topK: fc.nat(8),
    topP: fc.constantFrom(0.3, 1),
    minP: fc.constantFrom(0, 0.1),
    seed: fc.nat(),
  })
  fc.assert(
    fc.property(options, fc.nat(), (sampling, scores) => {
      const config = { vocab_size: 257, eos_token_id: 3, ...room }
      const texts = [null, { allowed: () => allowed, accept: () => undefined }].map(
        constraint => new GrowingText(config as never, [5], sampling, { constraint }),
      )
      for (const text of texts) {
        const uniform = uniformSource(scores)
        while (text.reason === null) text.extend(Float32Array.from({ length: 257 }, () => 9 * uniform()))
      }
      expect(texts[1]?.written).toEqual(texts[0]?.written)
    }),
    { numRuns: 50 },
  )
})

describe('tokenizers', () => {
  const wanted = {
    type: 'object',
    properties: { é木: { type: 'string', maxLength: 3 }, n: { type: 'integer' } },
    required: ['é木', 'n'],
  }
  const merges: [string, string][] = [
    ['{', '"'],
    ['"', ':'],
    ['Ġ', '{'],
    ['Ġ', '"'],
    ['Ã', '©'],
    ['"', '}'],
    ['"', ','],
  ]

  const pieces = [
    '<unk>',
    '<s>',
    '</s>',
    ...Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`),
  ]
  const words = [
    '▁',
    'a',
    '{"',
    '▁{',
    '":',
    '▁"',
    '"',
    ',',
    '}',
    'é',
    '木',
    '1',
    '0',
    '▁1',
    ':',
    '{',
    '":▁',
    'n',
  ]
  const sentencePiece = {
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
        { type: 'Prepend', prepend: '▁' },
        { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
      ],
    },
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      byte_fallback: true,
      fuse_unk: true,
      unk_token: '<unk>',
      vocab: Object.fromEntries([...pieces, ...words].map((token, id) => [token, id])),
      merges: [],
    },
  }

  test.each([
    [
      'byte-level BPE',
      parseTokenizer(byteLevelTokenizerJson(merges, 300), 'test', { pad: 0, bos: 1, eos: 2 }),
    ],
    [
      'metaspaces and bytes by name',
      parseTokenizer(JSON.stringify(sentencePiece), 'test', { pad: undefined, bos: 1, eos: 2 }),
    ],
  ])('%s', async (_, tokenizer) => {
    const own = grammarsOf(tokenizer)
    for (let seed = 0; seed < 8; seed++) {
      const text = await drawn(own, { jsonSchema: wanted }, { tokenizer, seed })
      const value = JSON.parse(text ?? '') as { é木: string; n: number }
      expect(Object.keys(value)).toEqual(['é木', 'n'])
      expect([...value.é木].length).toBeLessThanOrEqual(3)
      expect(value.é木).not.toContain('\ufffd')
      expect(Number.isInteger(value.n)).toBe(true)
    }
  })
})

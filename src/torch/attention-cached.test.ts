// Attention over cached keys against the softmax as it is written, in f64.
// Shapes: B sequences, N new rows of all, n those of one, H heads, G groups, C capacity, M pages of it, S positions, D and E
// widths.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  arange,
  attentionCached,
  cat,
  type DType,
  dequantizeBlocks,
  noGrad,
  quantizeBlocks,
  randn,
  type Tensor,
  tensor,
  tidy,
  where,
  zeros,
} from './index.ts'

interface Sequence {
  /** New rows. */
  rows: number
  /** Positions that the cache holds from before. */
  past: number
}

interface Case {
  sequences: readonly Sequence[]
  groups: number
  perGroup: number
  width: number
  valueWidth: number
  window: number
  hasSinks: boolean
  /** Capacity beyond the longest sequence. */
  spare: number
  layout: 'packed' | 'positions first' | 'values within keys'
  /** Positions of a page; null: a sequence is one page. */
  page: number | null
}

const plain: Case = {
  sequences: [{ rows: 3, past: 2 }],
  groups: 2,
  perGroup: 2,
  width: 8,
  valueWidth: 8,
  window: 0,
  hasSinks: false,
  spare: 0,
  layout: 'packed',
  page: null,
}

interface Inputs {
  queries: Tensor // [N, H, D]
  keys: Tensor // [B, G, C, D]
  values: Tensor // [B, G, C, E]
  sinks: Tensor | null // [H]
}

function inputsOf(c: Case): Inputs {
  const batch = c.sequences.length
  const heads = c.groups * c.perGroup
  const capacity = Math.max(...c.sequences.map(({ rows, past }) => rows + past)) + c.spare
  const cache = (width: number): Tensor =>
    c.layout === 'positions first'
      ? randn([batch, capacity, c.groups, width], { dtype: 'f64' }).transpose(1, 2)
      : randn([batch, c.groups, capacity, width], { dtype: 'f64' })
  const keys = cache(c.width)
  const within = c.layout === 'values within keys'
  return {
    queries: randn([c.sequences.reduce((sum, { rows }) => sum + rows, 0), heads, c.width], { dtype: 'f64' }),
    keys,
    values: within ? keys.narrow(3, 0, Math.min(c.width, c.valueWidth)) : cache(c.valueWidth),
    sinks: c.hasSinks ? randn([heads], { dtype: 'f64' }) : null,
  }
}

/** Where each sequence's new rows begin, and where the last one's end. */
const startsOf = (c: Case): number[] =>
  Array.from({ length: c.sequences.length + 1 }, (_, b) =>
    c.sequences.slice(0, b).reduce((sum, { rows }) => sum + rows, 0),
  )

/** i64 [n] */
const integers = (values: readonly number[]): Tensor => tensor(Int32Array.from(values)).long()

function attended(c: Case, { queries, keys, values, sinks }: Inputs): Tensor {
  const [batch, , capacity] = keys.shape as [number, number, number]
  const page = c.page ?? capacity
  const all = Array.from({ length: batch * Math.ceil(capacity / page) }, (_, i) => i).reverse()
  const within = c.layout === 'values within keys'
  const k = inPages(keys, page, c.layout)
  const v = within ? k.narrow(3, 0, values.size(3)) : inPages(values, page, c.layout)
  return attentionCached(
    queries,
    k,
    v,
    startsOf(c),
    integers(c.sequences.map(({ rows, past }) => rows + past)),
    integers(all).view([batch, -1]),
    c.width ** -0.5,
    c.window,
    sinks,
  )
}

/** [B, G, C, width] -> [B * M, G, page, width], the last page of the last sequence first. */
function inPages(cache: Tensor, page: number, layout: Case['layout']): Tensor {
  const [batch, groups, capacity, width] = cache.shape as [number, number, number, number]
  const spare = zeros([batch, groups, page * Math.ceil(capacity / page) - capacity, width], {
    dtype: cache.dtype,
  })
  const pages = cat([cache, spare], 2)
    .view([batch, groups, -1, page, width]) // [B, G, M, page, width]
    .transpose(1, 2)
    .flatten(0, 1)
    .flip([0])
  return layout === 'positions first' ? pages.transpose(1, 2).contiguous().transpose(1, 2) : pages
}

/** One sequence: a sink is one more score, for a value of zero. */
function referenceOf(c: Case, b: number, { queries, keys, values, sinks }: Inputs): Tensor {
  const { rows, past } = c.sequences[b]!
  const shared = (cache: Tensor): Tensor =>
    cache
      .select(0, b)
      .narrow(1, 0, past + rows)
      .repeatInterleave(c.perGroup, 0) // [H, S, .]
  const q = queries.narrow(0, startsOf(c)[b]!, rows).transpose(0, 1) // [H, n, D]
  const scores = q.matmul(shared(keys).transpose(1, 2)).mul(c.width ** -0.5) // [H, n, S]
  const behind = arange(past, past + rows)
    .unsqueeze(1)
    .sub(arange(0, past + rows)) // [n, S]
  const isSeen = behind.ge(0).logicalAnd(behind.lt(c.window || past + rows))
  const masked = where(isSeen, scores, scores.mul(0).sub(Infinity))
  const heads = q.shape[0]!
  const sunk = sinks ? cat([masked, sinks.view([heads, 1, 1]).expand([heads, rows, 1])], 2) : masked
  return sunk
    .softmax(-1)
    .narrow(2, 0, past + rows)
    .matmul(shared(values))
    .transpose(0, 1)
}

/** Sums of at most some thousand products of numbers of order one, weighted to a mean: 1e-12 leaves two digits. */
function expectAttended(c: Case, tolerance = 1e-12, dtype: DType = 'f64'): void {
  tidy(() => {
    const inputs = inputsOf(c)
    const { queries, keys, values, sinks } = inputs
    const narrow = (t: Tensor): Tensor => t.toCopy(dtype)
    const narrowed =
      dtype === 'f64'
        ? inputs
        : {
            queries: narrow(queries),
            keys: narrow(keys),
            values: narrow(values),
            sinks: sinks && narrow(sinks),
          }
    const actual = attended(c, narrowed)
    const wanted = cat(c.sequences.map((_, b) => referenceOf(c, b, inputs)))
    expect(actual.shape).toEqual(wanted.shape)
    if (wanted.numel > 0) expect(actual.double().sub(wanted).abs().max().item()).toBeLessThan(tolerance)
  })
}

const sequence = fc.record({
  rows: fc.oneof(fc.constant(1), fc.integer({ min: 0, max: 70 })),
  past: fc.nat(80),
})

const shapes = (width: fc.Arbitrary<number>): fc.Arbitrary<Case> =>
  fc.record({
    sequences: fc.array(sequence, { minLength: 1, maxLength: 3 }),
    groups: fc.integer({ min: 1, max: 3 }),
    perGroup: fc.integer({ min: 1, max: 6 }),
    width,
    valueWidth: width,
    window: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 40 })),
    hasSinks: fc.boolean(),
    spare: fc.nat(5),
    layout: fc.constantFrom('packed', 'positions first', 'values within keys') as fc.Arbitrary<
      Case['layout']
    >,
    page: fc.oneof(fc.constant(null), fc.integer({ min: 1, max: 40 }), fc.constantFrom(16, 128)),
  })

test('is the softmax that it stands for, whatever the shapes', () => {
  fc.assert(
    fc.property(shapes(fc.integer({ min: 1, max: 20 })), c => expectAttended(c)),
    { numRuns: 150 },
  )
})

describe('long sequences cross blocks, chunks and stretches', () => {
  test.each<[string, Partial<Case>]>([
    ['many new rows', { sequences: [{ rows: 700, past: 600 }] }],
    ['many new rows in a window', { sequences: [{ rows: 700, past: 600 }], window: 130, hasSinks: true }],
    ['one new row over stretches', { sequences: [{ rows: 1, past: 9000 }], hasSinks: true }],
    [
      'few new rows over stretches, more heads than go directly',
      { sequences: [{ rows: 5, past: 9000 }], perGroup: 7 },
    ],
    [
      'a window that begins within a stretch',
      { sequences: [{ rows: 2, past: 9500 }], window: 5000, spare: 9 },
    ],
    [
      'more heads in a group than rows in a block',
      { sequences: [{ rows: 2, past: 700 }], groups: 1, perGroup: 100 },
    ],
    [
      'sequences of very unequal lengths',
      {
        sequences: [
          { rows: 1, past: 8200 },
          { rows: 90, past: 0 },
          { rows: 1, past: 0 },
        ],
      },
    ],
  ])('%s', (_, change) => {
    for (const page of [null, 128, 100]) expectAttended({ ...plain, ...change, page })
  })
})

test('f32 is f64 rounded', () => {
  // A mean of numbers of order one, whose weights come from scores with an error of some 1e-6.
  for (const rows of [1, 200])
    expectAttended({ ...plain, sequences: [{ rows, past: 5000 }], width: 64 }, 1e-5, 'f32')
})

/** How rows are kept, [..., width] -> [..., elements], and the numbers that this leaves of them, in f64. */
const forms: Record<string, { keep(rows: Tensor): Tensor; meant(kept: Tensor, width: number): Tensor }> = {
  f16: { keep: rows => rows.to('f16'), meant: kept => kept.double() },
  q8_0: {
    keep(rows) {
      const width = rows.shape.at(-1)!
      const spare = zeros([...rows.shape.slice(0, -1), 32 * Math.ceil(width / 32) - width])
      const blocks = quantizeBlocks(cat([rows.float(), spare], -1).flatten(), 'Q8_0')
      return blocks.view([...rows.shape.slice(0, -1), 34 * Math.ceil(width / 32)])
    },
    meant: (kept, width) =>
      dequantizeBlocks(kept.contiguous().flatten(), 'Q8_0')
        .view([...kept.shape.slice(0, -1), (kept.shape.at(-1)! / 34) * 32])
        .narrow(-1, 0, width)
        .double(),
  },
}

/** Queries in f32 over a cache in a form; what it is in f64 over the numbers that were kept, and over all of theirs. */
function overForm(c: Case, form: string): { actual: Tensor; wanted: Tensor; unrounded: Tensor } {
  const { keep, meant } = forms[form]!
  const drawn = inputsOf({ ...c, layout: 'packed' })
  const queries = drawn.queries.float()
  const arranged = (rows: Tensor): Tensor =>
    c.layout === 'positions first' ? rows.transpose(1, 2).contiguous().transpose(1, 2) : rows
  const keys = arranged(keep(drawn.keys))
  const within = c.layout === 'values within keys'
  const width = within ? Math.min(c.width, c.valueWidth) : c.valueWidth
  const elements = keep(zeros([1, width])).shape[1]!
  const values = within ? keys.narrow(3, 0, elements) : arranged(keep(drawn.values))
  const referenceOver = (kept: Pick<Inputs, 'keys' | 'values'>): Tensor => {
    const inputs = { ...kept, queries: queries.double(), sinks: drawn.sinks }
    return cat(c.sequences.map((_, b) => referenceOf(c, b, inputs)))
  }
  return {
    actual: attended(c, { queries, keys, values, sinks: drawn.sinks?.float() ?? null })
      .double()
      .narrow(-1, 0, width),
    wanted: referenceOver({ keys: meant(keys, c.width), values: meant(values, width) }),
    unrounded: referenceOver({ ...drawn, values: within ? drawn.keys.narrow(3, 0, width) : drawn.values }),
  }
}

/** As f32 is f64 rounded, below. */
function expectForm(c: Case, form: string): void {
  tidy(() => {
    const { actual, wanted } = overForm(c, form)
    expect(actual.shape).toEqual(wanted.shape)
    if (wanted.numel > 0) expect(actual.sub(wanted).abs().max().item()).toBeLessThan(1e-5)
  })
}

describe.each(Object.keys(forms))('a cache in %s', form => {
  test('is read as the numbers that it holds, whatever the shapes', () => {
    fc.assert(
      fc.property(shapes(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(32, 64, 96, 128))), c =>
        expectForm(c, form),
      ),
      { numRuns: 100 },
    )
  })

  test.each<[string, Partial<Case>]>([
    ['many new rows', { sequences: [{ rows: 300, past: 900 }], width: 64, valueWidth: 64 }],
    ['many new rows in a window', { sequences: [{ rows: 200, past: 600 }], window: 130, hasSinks: true }],
    ['one new row over stretches', { sequences: [{ rows: 1, past: 5000 }], width: 128, valueWidth: 128 }],
    [
      'latent rows',
      {
        sequences: [{ rows: 1, past: 700 }],
        groups: 1,
        perGroup: 20,
        width: 576,
        valueWidth: 512,
        layout: 'values within keys',
      },
    ],
  ])('%s', (_, change) => expectForm({ ...plain, ...change }, form))

  test('is close to the one that it was made of', () => {
    tidy(() => {
      const sequences = [
        { rows: 1, past: 2000 },
        { rows: 20, past: 300 },
      ]
      const { actual, unrounded } = overForm({ ...plain, sequences, width: 64, valueWidth: 64 }, form)
      // A block's step is 1/127 of its largest number, of 32 normal ones some 2.5: an error of 2.5 / 127 / sqrt(12), 0.6% of a
      // number's size, in scores and in values: 2 * 0.006^2 = 7e-5. Halves have 2^-11 and less.
      const error = actual.sub(unrounded).square().sum().item() / unrounded.square().sum().item()
      expect(error).toBeLessThan(form === 'q8_0' ? 2e-4 : 2e-7)
    })
  })
})

test('large scores do not overflow', () => {
  tidy(() => {
    const inputs = inputsOf(plain)
    inputs.queries.mul_(1000)
    expect(
      attended(plain, inputs)
        .sub(referenceOf(plain, 0, inputs))
        .abs()
        .max()
        .item(),
    ).toBeLessThan(1e-10)
  })
})

test('an empty batch gives nothing', () => {
  expect(
    attentionCached(
      zeros([0, 4, 8]),
      zeros([0, 2, 5, 8]),
      zeros([0, 2, 5, 3]),
      [0],
      integers([]),
      integers([]).view([0, 1]),
      1,
    ).shape,
  ).toEqual([0, 4, 3])
})

test('what does not fit is refused, by name', () => {
  const q = zeros([3, 4, 8])
  const kv = zeros([1, 2, 5, 8])
  const call = (
    starts: number[],
    lengths: number[],
    queries = q,
    keys = kv,
    window = 0,
    sinks: Tensor | null = null,
    pages = integers(lengths.map(() => 0)).unsqueeze(1),
  ): Tensor => attentionCached(queries, keys, kv, starts, integers(lengths), pages, 1, window, sinks)
  expect(() => call([0, 2], [3])).toThrow('starts must go from 0 to 3')
  expect(() => call([0, 3], [3, 3])).toThrow('there must be 3 starts, got')
  expect(() => call([0, 3], [6])).toThrow('sequence 0 has 3 new rows in a cache of 5: its length cannot be 6')
  expect(() => call([0, 3], [2])).toThrow('its length cannot be 2')
  const paged = (...pages: number[]) =>
    call([0, 3], [3], q, kv, 0, null, integers(pages).view([1, pages.length]))
  expect(() => paged(1, 0)).toThrow('page 0 of sequence 0 is 1 of 1')
  expect(() => paged(-1)).toThrow('page 0 of sequence 0 is -1 of 1')
  expect(paged(0, -1).shape).toEqual([3, 4, 8]) // nobody looks at pages of later tokens
  expect(() => call([0, 3], [3], q, kv, 0, null, integers([0]))).toThrow(
    'pages must be contiguous i64 [1, M]',
  )
  expect(() => call([0, 3], [3], zeros([3, 3, 8]))).toThrow('3 heads cannot be divided into 2 groups')
  expect(() => call([0, 3], [3], zeros([3, 4, 7]))).toThrow('do not fit each other')
  expect(() => call([0, 3], [3], q, zeros([1, 2, 8, 5]).transpose(2, 3))).toThrow(
    'keys must be contiguous in the last',
  )
  expect(() => call([0, 3], [3], q, zeros([1, 2, 1, 8]).expand([1, 2, 5, 8]))).toThrow('rows of keys overlap')
  expect(() => call([0, 3], [3], q, kv, -1)).toThrow('window must be 0 (all) or more')
  expect(() => call([0, 3], [3], q, kv, 0, zeros([2]))).toThrow('sinks must be [4]')
  expect(() => call([0, 3], [3], zeros([3, 4, 8], { dtype: 'f64' }))).toThrow("of the queries' dtype")
  expect(() => call([0, 3], [3], zeros([3, 4, 8], { dtype: 'f64' }), kv.to('f16'))).toThrow(
    "of the queries' dtype",
  )
  expect(() => call([0, 3], [3], q, kv.to('bf16'))).toThrow(
    'or f16 or blocks of Q8_0 (u8) where that is f32, got bf16',
  )
  expect(() => call([0, 3], [3], q, zeros([1, 2, 5, 8], { dtype: 'u8' }))).toThrow(
    'whole blocks of 34 bytes, got 8',
  )
  expect(() => call([0, 3], [3], q, zeros([1, 2, 5, 68], { dtype: 'u8' }))).toThrow('do not fit each other')
})

test('it has no gradient, and says so', () => {
  const q = randn([3, 4, 8]).requiresGrad_()
  const kv = randn([1, 2, 5, 8])
  const call = (): Tensor => attentionCached(q, kv, kv, [0, 3], integers([3]), integers([0]).view([1, 1]), 1)
  expect(call).toThrow('has no gradient: use noGrad()')
  expect(noGrad(call).shape).toEqual([3, 4, 8])
})

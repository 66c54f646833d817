// How fast quantized blocks are decoded and encoded on one thread, beside a copy of as many bytes of f32 in the same run.

import { codecs, type GgmlTypeName } from '../src/formats/index.ts'
import {
  dequantizeBlocks,
  dequantizeFloat8,
  dequantizePairs,
  empty,
  quantizeBlocks,
  rand,
  randn,
  setThreads,
  type Tensor,
  tidy,
} from '../src/torch/index.ts'
import { median } from './support/contestant.ts'
import { report } from './support/report.ts'

setThreads(1)
const count = 1 << 24 // 64 MB of f32
const rounds = 9

function seconds(work: () => void): number {
  const start = performance.now()
  tidy(work)
  return (performance.now() - start) / 1000
}

const source = randn([count], { seed: 1 })
const target = empty([count])
const types = Object.keys(codecs) as GgmlTypeName[]
const blocks = new Map(
  types.map(type => {
    const { blockSize = 1, blockBytes = 1, encode } = codecs[type] ?? {}
    // Types that are only read have no encoder: random bytes, whose values are of no interest.
    const values = encode ? quantizeBlocks(source, type) : randomBytes((count / blockSize) * blockBytes)
    return [type, values]
  }),
)

function randomBytes(length: number): Tensor {
  return tidy(() => rand([length], { seed: 2 }).mul(256).to('u8'))
}

const float8 = { bytes: randomBytes(count).view([4096, 4096]), scales: rand([32, 32], { seed: 3 }) }
const pairs = {
  blocks: randomBytes(count / 2).view([count / 32, 16]),
  scales: quantizedScales(count / 32),
}

/** Powers of two around 1. */
function quantizedScales(length: number): Tensor {
  return tidy(() => rand([length], { seed: 4 }).mul(16).add(119).to('u8'))
}

const contestants: [name: string, work: () => void][] = [
  ['copy', () => void target.copy_(source)],
  ...types.map((type): [string, () => void] => [
    type,
    () => void dequantizeBlocks(blocks.get(type) ?? source, type),
  ]),
  ['F8_E4M3, 128 x 128', () => void dequantizeFloat8(float8.bytes, float8.scales)],
  ['MXFP4 in pairs', () => void dequantizePairs(pairs.blocks, pairs.scales)],
]
const encoded = types.filter(type => codecs[type]?.encode)
const all = Array.from({ length: rounds }, () =>
  Object.fromEntries(contestants.map(([name, work]) => [name, seconds(work)])),
)
const slice = source.narrow(0, 0, 1 << 21) // encoding searches; a part is enough
const encoding = Array.from({ length: 3 }, () =>
  Object.fromEntries(encoded.map(type => [type, seconds(() => void quantizeBlocks(slice, type))])),
)
const bytes = count * 4
const rate = (name: string): number => bytes / median(all.map(round => round[name] ?? 0)) / 1e9
const encodeRate = (type: string): number =>
  (slice.numel * 4) / median(encoding.map(round => round[type] ?? 0)) / 1e6
const copy = rate('copy')

report({
  name: 'dequant',
  setting: { values: count, rounds, threads: 1 },
  rows: [
    ['type', 'f32 out, GB/s', 'share of a copy', 'encoding, MB/s of f32'],
    ...contestants.map(([name]) => [
      name,
      rate(name).toFixed(2),
      `${((rate(name) / copy) * 100).toFixed(0)}%`,
      (encoded as string[]).includes(name) ? encodeRate(name).toFixed(0) : '',
    ]),
  ],
  notes: [
    'aim: at least 1 GB/s of output on one core. Memory is that of the round before: no page is touched first.',
  ],
  data: { decoding: all, encoding },
})

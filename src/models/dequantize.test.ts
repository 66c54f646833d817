// The kernels that decode and encode blocks against their twins in TypeScript, bit for bit, and what quantized folders hold.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { expectClose } from '../../tests/support/tensors.ts'
import {
  codecs,
  decodeMxfp4Pairs,
  float8E4M3,
  type GgmlTypeName,
  writeSafetensors,
} from '../formats/index.ts'
import { dequantizeFloat8, dequantizePairs, randn, type Tensor, tensor } from '../torch/index.ts'
import { dequantize, quantize } from './dequantize.ts'
import { loadModel, openTensors, wholeTensorSource } from './index.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))
const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../tests/fixtures/${name}`, import.meta.url))

/** Bytes of which halves, wherever they stand in a block, are of a size between 2^-12 and 2^4: no NaN, no infinity. */
const blockBytes = (count: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: count, maxLength: count })

/** Where a type's half-precision scales stand in a block. */
const halves: Partial<Record<GgmlTypeName, number[]>> = {
  Q8_0: [0],
  Q4_0: [0],
  Q4_1: [0, 2],
  Q5_0: [0],
  Q5_1: [0, 2],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
  IQ4_NL: [0],
  IQ4_XS: [0],
  MXFP4: [],
}

describe.each(Object.keys(codecs) as GgmlTypeName[])('%s', type => {
  const codec = codecs[type]
  if (!codec) throw new Error(`${type} has no codec`)

  test('decodes to the same bits as its twin', () => {
    fc.assert(
      fc.property(blockBytes(codec.blockBytes * 3), bytes => {
        for (let block = 0; block < 3; block++)
          for (const at of halves[type] ?? []) {
            const high = block * codec.blockBytes + at + 1
            bytes[high] = ((bytes[high] ?? 0) & 0x8f) | 0x30 // exponents of halves from 12 to 15
          }
        if (type === 'MXFP4')
          for (let block = 0; block < 3; block++) bytes[block * 17] = 100 + ((bytes[block * 17] ?? 0) % 50)
        const expected = new Float32Array(codec.blockSize * 3)
        codec.decode(bytes, expected)
        expect(dequantize(tensor(bytes), type).toTypedArray<'f32'>()).toEqual(expected)
      }),
      { numRuns: 40 },
    )
  })

  if (!codec.encode) return

  test.each([1, 1e-3, 50])('encodes numbers of size %d to the same bytes as its twin', size => {
    const values = randn([codec.blockSize * 6], { seed: 3 }).mul(size)
    values.narrow(0, 0, codec.blockSize).zero_()
    const part = (i: number): Tensor => values.narrow(0, i * codec.blockSize, codec.blockSize)
    part(1).copy_(part(1).abs())
    part(2).copy_(part(2).abs().neg())
    const expected = new Uint8Array(codec.blockBytes * 6)
    codec.encode?.(values.toTypedArray<'f32'>(), expected)
    expect(quantize(values, type).toTypedArray<'u8'>()).toEqual(expected)
  })

  test('what was decoded encodes to what decodes alike: levels are kept', () => {
    const first = dequantize(quantize(randn([codec.blockSize * 4], { seed: 5 }), type), type)
    const again = dequantize(quantize(first, type), type)
    // Scales are fitted anew and may land on another step of their own grid: half a level at most.
    expect(again.sub(first).abs().max().item()).toBeLessThanOrEqual(levelOf[type] ?? 0)
  })

  test('numbers come back within half a level, and zeros as zeros', () => {
    const values = randn([codec.blockSize * 64], { seed: 6 })
    const error = dequantize(quantize(values, type), type).sub(values).abs()
    expect(error.max().item()).toBeLessThanOrEqual(levelOf[type] ?? 0)
    expect(dequantize(quantize(values.zero_(), type), type).abs().max().item()).toBe(0)
  })
})

/**
 * The largest error of standard normal numbers, whose extreme among 64 blocks of 256 is below 4.5. Q8_0: half of
 * 4.5 / 127. Q6_K: half of 4.5 / 31, scales being 1/127 coarse. Q4_0: the end of the range that -8 does not reach, a whole
 * level of 4.5 / 8. Q4_K: half of 9 / 15, and scales and minima 1/63 coarse at 15 levels. MXFP4: between 8 and 12 (doubled)
 * levels are 4 apart, at most 2 of 12 off below the extreme, a quarter beyond it.
 */
const levelOf: Partial<Record<GgmlTypeName, number>> = {
  Q8_0: 0.02,
  Q6_K: 0.1,
  Q4_0: 0.57,
  Q4_K: 0.45,
  MXFP4: 1.2,
}

test("gpt-oss's MXFP4 decodes to the same bits as its twin", () => {
  const blocks = Uint8Array.from({ length: 48 }, (_, i) => (i * 37) % 256)
  const scales = Uint8Array.of(120, 0, 1)
  const expected = new Float32Array(96)
  decodeMxfp4Pairs(blocks, scales, expected)
  const values = dequantizePairs(tensor(blocks).view([3, 16]), tensor(scales))
  expect(values.shape).toEqual([3, 32])
  expect(values.toTypedArray<'f32'>()).toEqual(expected)
})

test('FP8 has the values of its table, times the scale of their block', () => {
  const bytes = Uint8Array.from({ length: 200 * 130 }, (_, i) => (((i % 256) & 127) === 127 ? 0 : i % 256))
  const scales = tensor([
    [1, 2],
    [0.5, 3],
  ])
  const values = dequantizeFloat8(tensor(bytes).view([200, 130]), scales)
  const at = (row: number, column: number): number => float8E4M3[bytes[row * 130 + column] ?? 0] ?? 0
  for (const [row, column, scale] of [
    [0, 0, 1],
    [5, 129, 2],
    [199, 3, 0.5],
    [128, 128, 3],
  ] as const)
    expect(values.select(0, row).select(0, column).item()).toBe(at(row, column) * scale)
  expect([float8E4M3[0x7e], float8E4M3[0x01], float8E4M3[0x88]]).toEqual([448, 2 ** -9, -(2 ** -6)])
})

test('a folder in FP8 loads as what its blocks stand for', () => {
  const folder = join(scratch, 'fp8')
  cpSync(fixture('deepseek_v3'), folder, { recursive: true })
  const plain = openTensors(join(folder, 'model.safetensors'))
  const wanted = 'model.layers.1.mlp.experts.3.up_proj.weight'
  const codes = Uint8Array.from({ length: 16 * 32 }, (_, i) => (i * 7) % 120)
  const sources = [...plain].map(([name, value]) =>
    name === wanted
      ? { name, dtype: 'F8_E4M3' as const, shape: [16, 32], bytes: () => codes }
      : wholeTensorSource(name, value),
  )
  sources.push(wholeTensorSource(`${wanted}_scale_inv`, tensor([[0.25]])))
  writeSafetensors(join(scratch, 'fp8.safetensors'), sources)
  cpSync(join(scratch, 'fp8.safetensors'), join(folder, 'model.safetensors'))
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as object
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({
      ...config,
      quantization_config: { quant_method: 'fp8', weight_block_size: [128, 128] },
    }),
  )
  const { model } = loadModel(folder)
  const loaded = model
    .stateDict()
    .get('model.layers.1.mlp.experts.gate_up_proj')
    ?.select(0, 3)
    .narrow(0, 16, 16)
  const expected = tensor(Float32Array.from(codes, code => (float8E4M3[code] ?? 0) * 0.25)).view([16, 32])
  expectClose(loaded ?? expected.neg(), expected, 0)
})

test('a folder in MXFP4 loads as what its blocks stand for', () => {
  const folder = join(scratch, 'mxfp4')
  cpSync(fixture('gpt_oss'), folder, { recursive: true })
  const plain = openTensors(join(folder, 'model.safetensors'))
  const name = 'model.layers.0.mlp.experts.down_proj' // [4, 32, 32], input first
  const blocks = Uint8Array.from({ length: 4 * 32 * 16 }, (_, i) => (i * 11) % 256)
  const scales = Uint8Array.from({ length: 4 * 32 }, (_, i) => 120 + (i % 5))
  const others = [...plain].filter(([other]) => other !== name)
  writeSafetensors(join(scratch, 'mxfp4.safetensors'), [
    ...others.map(([other, value]) => wholeTensorSource(other, value)),
    { name: `${name}_blocks`, dtype: 'U8', shape: [4, 32, 1, 16], bytes: () => blocks },
    { name: `${name}_scales`, dtype: 'U8', shape: [4, 32, 1], bytes: () => scales },
  ])
  cpSync(join(scratch, 'mxfp4.safetensors'), join(folder, 'model.safetensors'))
  const { model } = loadModel(folder)
  const values = new Float32Array(4 * 32 * 32)
  decodeMxfp4Pairs(blocks, scales, values)
  const expected = tensor(values).view([4, 32, 32]).transpose(1, 2)
  expectClose(model.stateDict().get(name) ?? expected.neg(), expected, 0)
})

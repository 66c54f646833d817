// The kernels that decode and encode blocks against their twins in TypeScript, bit for bit, and what quantized folders hold.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { writeMxfp4Folder } from '../../../tests/support/block-folders.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import {
  codecs,
  decodeMxfp4Pairs,
  float8E4M3,
  type GgmlTypeName,
  writeSafetensors,
} from '../../formats/index.ts'
import { dequantizeFloat8, dequantizePairs, randn, type Tensor, tensor } from '../../torch/index.ts'
import { openModel, openTensors, wholeTensorSource } from '../index.ts'
import { dequantize, quantize } from './dequantize.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))
const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))

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

/** Random bytes stand for any scales but these: halves of exponent 31, and E8M0's NaN. */
function makeScalesFinite(bytes: Uint8Array, block: number, type: GgmlTypeName): void {
  for (const at of halves[type] ?? []) {
    const high = bytes[block + at + 1] ?? 0
    if ((high & 0x7c) === 0x7c) bytes[block + at + 1] = high & 0xbf
  }
  if (type === 'MXFP4' && bytes[block] === 255) bytes[block] = 254
}

describe.each(Object.keys(codecs) as GgmlTypeName[])('%s', type => {
  const codec = codecs[type]
  if (!codec) throw new Error(`${type} has no codec`)

  test('decodes to the same bits as its twin', () => {
    const length = codec.blockBytes * 3
    fc.assert(
      fc.property(fc.uint8Array({ minLength: length, maxLength: length }), bytes => {
        for (let at = 0; at < length; at += codec.blockBytes) makeScalesFinite(bytes, at, type)
        const expected = new Float32Array(codec.blockSize * 3)
        codec.decode(bytes, expected)
        expect(dequantize(tensor(bytes), type).toTypedArray<'f32'>()).toEqual(expected)
      }),
      { numRuns: 40 },
    )
  })

  if (!codec.encode) return

  // From scales below the least half to scales beyond the largest.
  test.each([1, 1e-3, 50, 1e-8, 1e8])('encodes numbers of size %d to the same bytes as its twin', size => {
    const values = randn([codec.blockSize * 6], { seed: 3 }).mul(size)
    values.narrow(0, 0, codec.blockSize).zero_()
    const part = (i: number): Tensor => values.narrow(0, i * codec.blockSize, codec.blockSize)
    part(1).copy_(part(1).abs())
    part(2).copy_(part(2).abs().neg())
    const expected = new Uint8Array(codec.blockBytes * 6)
    codec.encode?.(values.toTypedArray<'f32'>(), expected)
    expect(quantize(values, type).toTypedArray<'u8'>()).toEqual(expected)
    const importance = randn([codec.blockSize * 2], { seed: 4 }).square()
    importance.narrow(0, 3, 20).zero_()
    codec.encode?.(values.toTypedArray<'f32'>(), expected, importance.toTypedArray<'f32'>())
    expect(quantize(values, type, importance).toTypedArray<'u8'>()).toEqual(expected)
  })
})

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
  const model = openModel(folder).load({ kind: 'decoder' })
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
  writeMxfp4Folder(fixture('gpt_oss'), folder)
  const stored = openTensors(join(folder, 'model.safetensors'))
  using model = openModel(folder).load({ kind: 'decoder' })
  const name = 'model.layers.0.mlp.experts.'
  /** [E, outputs, inputs] */
  const valuesOf = (matrix: string): Tensor => {
    const [blocks, scales] = ['blocks', 'scales'].map(part =>
      stored.get(`${name}${matrix}_${part}`)?.toTypedArray<'u8'>(),
    ) as [Uint8Array, Uint8Array]
    const values = new Float32Array(blocks.length * 2)
    decodeMxfp4Pairs(blocks, scales, values)
    return tensor(values).view([4, -1, 32])
  }
  const loaded = (matrix: string): Tensor => model.stateDict().get(name + matrix) as Tensor
  expectClose(loaded('down_proj'), valuesOf('down_proj'), 0)
  // The file has gate and up by turns, memory has the gate's rows first.
  const both = valuesOf('gate_up_proj')
  expectClose(loaded('gate_up_proj').narrow(1, 0, 32), both.slice(1, 0, null, 2), 0)
  expectClose(loaded('gate_up_proj').narrow(1, 32, 32), both.slice(1, 1, null, 2), 0)
})

// Folders whose experts are in blocks with their scales apart, as gpt-oss and DeepSeek-V3 were published.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TensorSource, writeSafetensors } from '../../src/formats/index.ts'
import { openTensors, wholeTensorSource } from '../../src/models/index.ts'

/** Numbers that look drawn, of 0 to `below - 1`. */
const bytesOf = (length: number, below: number, step: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => ((i * step) ^ (i >> 5)) % below)

/**
 * Writes `folder` as a copy of another, some of whose tensors are replaced.
 *
 * @param replace what a tensor becomes; null: it stays
 */
function rewritten(
  from: string,
  folder: string,
  replace: (name: string, shape: readonly number[]) => TensorSource[] | null,
): void {
  const plain = openTensors(join(from, 'model.safetensors'))
  const tensors = [...plain].flatMap(
    ([name, value]) => replace(name, value.shape) ?? [wholeTensorSource(name, value)],
  )
  cpSync(from, folder, { recursive: true })
  writeSafetensors(join(folder, 'model.safetensors'), tensors)
}

/** All experts of a gpt-oss folder in MXFP4: [E, rows, blocks, 16] and a scale for each block, rows being outputs. */
export function writeMxfp4Folder(from: string, folder: string): void {
  rewritten(from, folder, (name, [experts = 0, inputs = 0, outputs = 0]) => {
    if (!/experts\.(gate_up|down)_proj$/.test(name)) return null
    const shape = [experts, outputs, inputs / 32]
    const count = experts * outputs * (inputs / 32)
    const blocks = bytesOf(count * 16, 256, 11)
    const scales = bytesOf(count, 3, 7).map(scale => 121 + scale) // 2^-6 to 2^-4
    return [
      { name: `${name}_blocks`, dtype: 'U8', shape: [...shape, 16], bytes: () => blocks },
      { name: `${name}_scales`, dtype: 'U8', shape, bytes: () => scales },
    ]
  })
}

/** All of DeepSeek's matrices whose rows are of whole blocks in FP8, with a scale for each 128 by 128. */
export function writeFloat8Folder(from: string, folder: string): void {
  rewritten(from, folder, (name, [rows = 0, columns = 0]) => {
    if (!/(self_attn\.\w+|mlp\..*)_proj\.weight$/.test(name) || columns % 128 !== 0) return null
    const values = bytesOf(rows * columns, 120, 13).map((value, i) => value | ((i * 7) % 2 ? 128 : 0))
    const scaleShape = [Math.ceil(rows / 128), columns / 128]
    const scales = Float32Array.from(
      { length: scaleShape[0]! * scaleShape[1]! },
      (_, i) => 2 ** -13 * (1 + (i % 3)),
    )
    const bytes = new Uint8Array(scales.buffer)
    return [
      { name, dtype: 'F8_E4M3', shape: [rows, columns], bytes: () => values },
      { name: `${name}_scale_inv`, dtype: 'F32', shape: scaleShape, bytes: () => bytes },
    ]
  })
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as object
  const quantization_config = { quant_method: 'fp8', weight_block_size: [128, 128] }
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, quantization_config }))
}

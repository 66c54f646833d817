// Data sets as fairseq-preprocess writes them (fairseq/data/indexed_dataset.py).
import { writeFileSync } from 'node:fs'

const widths: Readonly<Record<number, number>> = { 4: 4, 5: 8, 8: 2, 9: 4 }

/** MMapIndexedDataset, of numbers by their code: 4 is i32, 5 i64, 8 u16, 9 u32. */
export function writeMmap(prefix: string, texts: readonly (readonly number[])[], code = 8): void {
  const width = widths[code] as number
  const bytes = Buffer.alloc(width * texts.flat().length)
  for (const [i, id] of texts.flat().entries())
    if (width === 8) bytes.writeBigInt64LE(BigInt(id), 8 * i)
    else bytes.writeUIntLE(id, width * i, width)
  writeFileSync(`${prefix}.bin`, bytes)
  const sizes = Buffer.from(Int32Array.from(texts, ({ length }) => length).buffer)
  const ends = texts.map((_, i) => width * texts.slice(0, i).flat().length)
  const offsets = Buffer.from(BigInt64Array.from(ends, BigInt).buffer)
  const header = Buffer.concat([
    Buffer.from('MMIDIDX\0\0'),
    longs([1]),
    Buffer.from([code]),
    longs([texts.length]),
  ])
  writeFileSync(`${prefix}.idx`, Buffer.concat([header, sizes, offsets]))
}

/** IndexedDataset, of i32. */
export function writeIndexed(prefix: string, texts: readonly (readonly number[])[]): void {
  writeFileSync(`${prefix}.bin`, Buffer.from(Int32Array.from(texts.flat(), id => id + 1).buffer))
  const starts = Array.from({ length: texts.length + 1 }, (_, i) => texts.slice(0, i).flat().length)
  const dimensions = Array.from({ length: texts.length + 1 }, (_, i) => i)
  const numbers = [
    1,
    4,
    4,
    texts.length,
    texts.length,
    ...dimensions,
    ...starts,
    ...texts.map(({ length }) => length),
  ]
  writeFileSync(`${prefix}.idx`, Buffer.concat([Buffer.from('TNTIDX\0\0'), longs(numbers)]))
}

const longs = (numbers: readonly number[]): Buffer => Buffer.from(BigInt64Array.from(numbers, BigInt).buffer)

// Parquet files, one row group in memory at a time.

import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet'
import { compressors as portable } from 'hyparquet-compressors'
import { FormatError, SwitchyardError } from '../../errors.ts'
import { checkedRecord, type ToRecord } from './json-lines.ts'

/** Node's own decompressors where it has them: faster, and they stop at the size that the page promises. */
const compressors: typeof portable = {
  ...portable,
  GZIP: (bytes, maxOutputLength) => gunzipSync(bytes, { maxOutputLength }),
  BROTLI: (bytes, maxOutputLength) => brotliDecompressSync(bytes, { maxOutputLength }),
}

/** What is read of a Parquet file. */
export interface ParquetColumns {
  /** Those that are looked for; a file must have all of one of these sets. */
  needed: readonly (readonly string[])[]
  /** Those that are read where they are. */
  others: readonly string[]
}

/** The rows of a Parquet file; those of which a column that is needed is null are passed over. */
export async function* readParquet<T>(
  file: string,
  columns: ParquetColumns,
  toRecord: ToRecord<T>,
): AsyncGenerator<T> {
  try {
    yield* readRows(file, columns, toRecord)
  } catch (cause) {
    if (cause instanceof SwitchyardError || (cause as NodeJS.ErrnoException).code !== undefined) throw cause
    throw new FormatError(`is damaged or no Parquet file (${(cause as Error).message})`, { file, cause })
  }
}

async function* readRows<T>(
  file: string,
  { needed, others }: ParquetColumns,
  toRecord: ToRecord<T>,
): AsyncGenerator<T> {
  const buffer = await asyncBufferFromFile(file)
  const metadata = await parquetMetadataAsync(buffer)
  const names = parquetSchema(metadata).children.map(column => column.element.name)
  const own = needed.find(set => set.every(name => names.includes(name)))
  if (!own) {
    const wanted = needed.map(set => set.map(name => `'${name}'`).join(' with ')).join(', ')
    throw new FormatError(`has no ${wanted} column; its columns are ${names.join(', ')}`, { file })
  }
  const columns = [...own, ...others.filter(name => names.includes(name))]
  let row = 0
  for (const group of metadata.row_groups) {
    const range = { rowStart: row, rowEnd: row + Number(group.num_rows) }
    for (const value of await parquetReadObjects({
      file: buffer,
      metadata,
      columns,
      compressors,
      ...range,
    })) {
      row++
      if (own.every(name => value[name] !== null && value[name] !== undefined))
        yield checkedRecord(value, `row ${row}`, file, toRecord)
    }
  }
}

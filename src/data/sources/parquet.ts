// Parquet files with a `text` column and perhaps a `domain` column, one row group in memory at a time.

import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet'
import { compressors as portable } from 'hyparquet-compressors'
import { FormatError, SwitchyardError } from '../../errors.ts'
import { type TextRecord, toRecord } from './json-lines.ts'

/** Node's own decompressors where it has them: faster, and they stop at the size that the page promises. */
const compressors: typeof portable = {
  ...portable,
  GZIP: (bytes, maxOutputLength) => gunzipSync(bytes, { maxOutputLength }),
  BROTLI: (bytes, maxOutputLength) => brotliDecompressSync(bytes, { maxOutputLength }),
}

/** The rows of a Parquet file; those whose text is null are passed over. */
export async function* readParquet(file: string): AsyncGenerator<TextRecord> {
  try {
    yield* readRows(file)
  } catch (cause) {
    if (cause instanceof SwitchyardError || (cause as NodeJS.ErrnoException).code !== undefined) throw cause
    throw new FormatError(`is damaged or no Parquet file (${(cause as Error).message})`, { file, cause })
  }
}

async function* readRows(file: string): AsyncGenerator<TextRecord> {
  const buffer = await asyncBufferFromFile(file)
  const metadata = await parquetMetadataAsync(buffer)
  const names = parquetSchema(metadata).children.map(column => column.element.name)
  if (!names.includes('text')) {
    throw new FormatError(`has no 'text' column; its columns are ${names.join(', ')}`, { file })
  }
  const columns = ['text', 'domain'].filter(name => names.includes(name))
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
      if (value.text !== null && value.text !== undefined) yield checkedRecord(value, file, row)
    }
  }
}

function checkedRecord(value: unknown, file: string, row: number): TextRecord {
  const record = toRecord(value)
  if (typeof record !== 'string') return record
  throw new FormatError(`row ${row} ${record}`, { file })
}

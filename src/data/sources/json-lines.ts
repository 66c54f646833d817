// JSONL: one JSON object a line.

import { FormatError } from '../../errors.ts'
import { readLines } from './lines.ts'

/** A document as its file gives it. */
export interface TextRecord {
  text: string
  domain: string | undefined
}

/** Checks what a line or row holds, at a place as `line 3`. Returns a text that says what is wrong with it, if anything is. */
export type ToRecord<T> = (value: unknown, place: string) => T | string

/** The records of a JSONL file. Throws FormatError naming the line that is none. */
export async function* readJsonLines<T>(file: string, toRecord: ToRecord<T>): AsyncGenerator<T> {
  let number = 0
  for await (const line of readLines(file)) {
    number++
    const place = `line ${number}`
    if (line.trim() !== '') yield checkedRecord(parseJson(line, place, file), place, file, toRecord)
  }
}

/** What a line or row holds. @throws FormatError naming its place */
export function checkedRecord<T>(value: unknown, place: string, file: string, toRecord: ToRecord<T>): T {
  const record = toRecord(value, place)
  if (typeof record !== 'string') return record
  throw new FormatError(`${place} ${record}`, { file })
}

function parseJson(line: string, place: string, file: string): unknown {
  try {
    return JSON.parse(line)
  } catch (cause) {
    throw new FormatError(`${place} is not JSON: each line must be an object as {"text": "..."}`, {
      file,
      cause,
    })
  }
}

/** A document with its `text`, and perhaps its `domain`. */
export function toTextRecord(value: unknown): TextRecord | string {
  const { text, domain } = (value ?? {}) as { text?: unknown; domain?: unknown }
  if (typeof text !== 'string') return `has no 'text' (a string)`
  if (domain === undefined || domain === null) return { text, domain: undefined }
  return typeof domain === 'string' ? { text, domain } : `has a 'domain' that is no string`
}

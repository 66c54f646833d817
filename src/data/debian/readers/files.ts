// The shape of a reader, and the one that most packages need: each file is a text, after a conversion.

import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

/** A text as a package holds it, with the place inside the package that it was found at. */
export interface PackagedText {
  text: string
  place: string
}

/** Reads the texts of an unpacked package, one after the other. */
export type Reader = (folder: string) => Iterable<PackagedText>

export interface FilesOptions {
  /** Folder inside the package. */
  under: string
  /** Which files, by path below `under`. */
  match: RegExp
  /** Makes text, or several texts, of a file's content. */
  convert: (content: string) => string | string[]
}

/** Far above any file of text in these packages, far below memory. */
const largestFile = 256 * 2 ** 20

/** Reads every matching file; `.gz` is unpacked. Links are passed over: their targets are read anyway. */
export function eachFile({ under, match, convert }: FilesOptions): Reader {
  return function* read(folder) {
    const root = join(folder, under)
    for (const path of listFiles(root)) {
      if (!match.test(path)) continue
      const content = readText(join(root, path))
      for (const text of [convert(content)].flat()) yield { text, place: `${under}/${path}` }
    }
  }
}

function listFiles(root: string): string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter(path => lstatSync(join(root, path)).isFile())
    .sort()
}

function readText(file: string): string {
  const bytes = readFileSync(file)
  const unpacked = file.endsWith('.gz') ? gunzipSync(bytes, { maxOutputLength: largestFile }) : bytes
  return unpacked.toString('utf8')
}

// SWORD modules: books of scripture and commentary in compressed blocks of OSIS markup.
// Format: crosswire.org, sword/src/modules/common/zverse.cpp. `X.?zs` lists the zlib blocks of `X.?zz`.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'
import { FormatError } from '../../../errors.ts'
import type { Reader } from './files.ts'

const recordBytes = 12 // offset, packed size, size: each 32 bits, little-endian
const largestBlock = 64 * 2 ** 20

/** Reads a module's testaments, one text per chapter. `under` is the folder of its data files. */
export function swordModule(under: string): Reader {
  return function* read(folder) {
    const names = readdirSync(join(folder, under)).filter(name => /^[on]t\.[bcv]zs$/.test(name))
    for (const name of names.sort().reverse()) {
      let chapter = 0
      for (const block of readBlocks(join(folder, under, name))) {
        for (const text of osisToTexts(block)) yield { text, place: `${under}/${name}#${++chapter}` }
      }
    }
  }
}

function* readBlocks(file: string): Generator<string> {
  const records = readFileSync(file)
  const packed = readFileSync(file.replace(/s$/, 'z'))
  for (let at = 0; at + recordBytes <= records.length; at += recordBytes) {
    const offset = records.readUInt32LE(at)
    const length = records.readUInt32LE(at + 4)
    if (length === 0) continue
    try {
      const block = packed.subarray(offset, offset + length)
      yield inflateSync(block, { maxOutputLength: largestBlock }).toString('utf8')
    } catch (cause) {
      throw new FormatError(`block ${at / recordBytes} is damaged`, { file, cause })
    }
  }
}

/** The chapters of a block: titles, paragraphs and lines of verse; no notes, no word-by-word annotations. */
export function osisToTexts(osis: string): string[] {
  return osis
    .replace(/<(note|rdg)\b[^>]*>[\s\S]*?<\/\1>(?=(\p{L})?)/gu, (_note, _tag, letter) => (letter ? ' ' : ''))
    .split(/(?=<chapter [^>]*sID)/)
    .map(chapter =>
      chapter
        .replace(/\s+/g, ' ')
        .replace(/<div\b[^>]*type="x-milestone"[^>]*>/g, '')
        .replace(/<(?:l|lb|item)\b[^>]*(?<!eID="\w*"[^>]*)>/g, '\n')
        .replace(/<\/?(?:div|title|lg|list|chapter)\b[^>]*>/g, '\n\n')
        .replace(/<[^>]*>/g, '')
        .replace(/&lt;/g, '<')
        .replace(/&gt;/g, '>')
        .replace(/&quot;/g, '"')
        .replace(/&amp;/g, '&')
        .replace(/[ \t]+/g, ' ')
        .replace(/ ?\n ?/g, '\n')
        .trim(),
    )
}

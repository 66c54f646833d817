// Manual pages: roff with the `man` macros, as plain paragraphs.

import { type RoffState, unescapeRoff } from './roff-escapes.ts'

/** Macros that begin a new paragraph. */
const paragraph = new Set('PP P LP TP TQ IP HP sp RS RE SH SS br nf fi EX EE'.split(' '))

/** Macros whose arguments alternate between two fonts and stand without spaces. */
const alternating = new Set('BR RB BI IB IR RI'.split(' '))

/** Macros whose arguments are text. */
const plain = new Set('B I R SM SB SH SS'.split(' '))

/** Blocks that hold no prose, with what ends them: macro definitions, comments, tables, equations, pictures. */
const blockEnds = new Map([
  ['de', /^\.\s*\./],
  ['am', /^\.\s*\./],
  ['ig', /^\.\s*\./],
  ['TS', /^\.TE/],
  ['EQ', /^\.EN/],
  ['PS', /^\.PE/],
])

/** Headings of sections that say who wrote and translated the page. */
const credits = new RegExp(
  [
    'COPYRIGHT|COLOPHON|KOLOPHON|COLOF',
    // English, German, French, Spanish
    "AUTHOR|AUTOR|AUTEUR|BERSETZUNG|TRADUC|DROITS D'",
    // Russian: author, translation, colophon
    '\u0410\u0412\u0422\u041e\u0420|\u041f\u0415\u0420\u0415\u0412\u041e\u0414|\u041a\u041e\u041b\u041e\u0424\u041e\u041d',
    // Japanese: author, rights, translation, writer, about this page
    '\u8457\u8005|\u8457\u4f5c\u6a29|\u7ffb\u8a33|\u4f5c\u8005|\u6587\u66f8\u306b\u3064\u3044\u3066',
    // Chinese: translator, translation, upkeep, last change, rights (two spellings), about this page, colophon
    '\u8bd1\u8005|\u7ffb\u8bd1|\u7ef4\u62a4|\u6700\u65b0\u66f4\u65b0|\u7248\u6743|\u7248\u6b0a|\u5173\u4e8e\u672c\u9875|\u8dcb',
  ].join('|'),
  'i',
)

/** A stretch of text, and the macro that it follows. */
export interface ManParagraph {
  macro: string
  text: string
}

/**
 * Text of a manual page. Sections of credits, tables and macro definitions are left out; a page of the other macro
 * set (`mdoc`) gives an empty text.
 */
export function manToText(source: string): string {
  return manSections(source)
    .flat()
    .map(({ text }) => text)
    .join('\n\n')
}

/** The sections of a page with their paragraphs, the heading first. What is before the first heading is a section too. */
export function manSections(source: string): ManParagraph[][] {
  if (/^\.Dd /m.test(source)) return []
  const page = new ManPage()
  const lines = source.replace(/\\\n/g, '').split('\n')
  for (let i = 0; i < lines.length; i++) {
    const end = blockEnds.get(/^\.\s*([A-Za-z]+)/.exec(lines[i]!)?.[1] ?? '')
    if (end === undefined) page.line(lines[i]!)
    else while (i < lines.length && !end.test(lines[i]!)) i++
  }
  return page.sections()
}

class ManPage {
  readonly #sections: ManParagraph[][] = [[]]
  readonly #state: RoffState = { strings: new Map() }
  /** What the paragraph that is read follows. */
  #macro = ''
  #words: string[] = []
  /** Between .nf and .fi lines stay as they are. */
  #verbatim = false
  #inCredits = false

  line(line: string): void {
    if (/^[.']\s*\\"/.test(line) || /^'''?/.test(line)) return
    const request = /^[.']\s*([^\s\\]*)\s*(.*)$/.exec(line)
    if (request) this.#request(request[1]!, request[2]!)
    else if (line.trim() === '') this.#break()
    else this.#add(unescapeRoff(line, this.#state))
  }

  sections(): ManParagraph[][] {
    this.#break()
    return this.#sections.filter(section => section.length > 0)
  }

  #request(name: string, rest: string): void {
    if (paragraph.has(name)) {
      this.#break()
      this.#macro = name
    }
    if (name === 'SH') this.#sections.push([])
    if (name === 'nf' || name === 'EX') this.#verbatim = true
    if (name === 'fi' || name === 'EE') this.#verbatim = false
    if (name === 'ds') this.#define(rest)
    const words = splitArguments(rest).map(word => unescapeRoff(word, this.#state))
    if (name === 'SH') this.#inCredits = credits.test(words.join(' '))
    if (alternating.has(name)) this.#add(words.join(''))
    else if (plain.has(name)) this.#add(words.join(' '))
    else if (name === 'IP' && words[0] !== undefined) this.#add(words[0])
    else if (name === 'UR' || name === 'MT') this.#add(words[0] ?? '')
    if (name === 'SH' || name === 'SS') {
      this.#break()
      this.#macro = ''
    }
  }

  #define(rest: string): void {
    const definition = /^(\S+)\s*"?(.*)$/.exec(rest)
    if (definition) this.#state.strings.set(definition[1]!, unescapeRoff(definition[2]!, this.#state))
  }

  #add(text: string): void {
    if (text !== '' && !this.#inCredits) this.#words.push(text)
  }

  #break(): void {
    const text = this.#verbatim ? this.#words.join('\n') : this.#words.join(' ').replace(/\s+/g, ' ').trim()
    if (text !== '') this.#sections.at(-1)?.push({ macro: this.#macro, text })
    this.#words = []
  }
}

/** Arguments of a macro: words, or quoted texts in which `""` is a quote. */
export function splitArguments(rest: string): string[] {
  const withoutComment = rest.replace(/\s*\\".*$/, '')
  return [...withoutComment.matchAll(/"((?:[^"]|"")*)"?|((?:\\ |\S)+)/g)].map(
    ([, quoted, word]) => quoted?.replaceAll('""', '"') ?? word ?? '',
  )
}

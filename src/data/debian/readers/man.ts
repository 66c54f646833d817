// Manual pages: roff with the `man` macros, as plain paragraphs.

import { type RoffState, unescapeRoff } from './roff-escapes.ts'

/** Macros that begin a new paragraph. */
const paragraph = new Set([
  'PP',
  'P',
  'LP',
  'TP',
  'TQ',
  'IP',
  'HP',
  'sp',
  'RS',
  'RE',
  'SH',
  'SS',
  'br',
  'nf',
  'fi',
  'EX',
  'EE',
])

/** Macros whose arguments alternate between two fonts and stand without spaces. */
const alternating = new Set(['BR', 'RB', 'BI', 'IB', 'IR', 'RI'])

/** Macros whose arguments are text. */
const plain = new Set(['B', 'I', 'R', 'SM', 'SB', 'SH', 'SS'])

/** Blocks that hold no prose: macro definitions, tables, equations, pictures, comments. */
const skipped: Record<string, RegExp> = {
  de: /^\.\s*\./,
  ig: /^\.\s*\./,
  am: /^\.\s*\./,
  TS: /^\.TE/,
  EQ: /^\.EN/,
  PS: /^\.PE/,
}

/** Sections that say who wrote and translated the page, in the languages read here. */
const credits =
  /(BERSETZUNG|TRADUCTION|TRADUCTEUR|TRADUCCI|ПЕРЕВОД|翻訳|翻译|译者|维护人|最新更新|翻译计划|维护|關於|关于本页|版權|跋|COPYRIGHT|COLOPHON|AUTEUR|AUTOR|АВТОР|著者|著作権|文書について|作者|版权|КОЛОФОН|DROITS D|KOLOPHON|COLOF)/i

/**
 * Text of a manual page. Sections of credits, tables and macro definitions are left out; a page of the other macro
 * set (`mdoc`) gives an empty text.
 */
export function manToText(source: string): string {
  if (/^\.Dd /m.test(source)) return ''
  const page = new ManPage()
  const lines = source.replace(/\\\n/g, '').split('\n')
  for (let i = 0; i < lines.length; i++) {
    const end = skipped[/^\.\s*([A-Za-z]+)/.exec(lines[i]!)?.[1] ?? '']
    if (end === undefined) page.line(lines[i]!)
    else while (i < lines.length && !end.test(lines[i]!)) i++
  }
  return page.text()
}

class ManPage {
  readonly #paragraphs: string[] = []
  readonly #state: RoffState = { strings: new Map() }
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

  text(): string {
    this.#break()
    return this.#paragraphs.join('\n\n')
  }

  #request(name: string, rest: string): void {
    if (paragraph.has(name)) this.#break()
    if (name === 'nf' || name === 'EX') this.#verbatim = true
    if (name === 'fi' || name === 'EE') this.#verbatim = false
    if (name === 'ds') this.#define(rest)
    const words = splitArguments(rest).map(word => unescapeRoff(word, this.#state))
    if (name === 'SH') this.#inCredits = credits.test(words.join(' '))
    if (alternating.has(name)) this.#add(words.join(''))
    else if (plain.has(name)) this.#add(words.join(' '))
    else if (name === 'IP' && words[0] !== undefined) this.#add(words[0])
    else if (name === 'UR' || name === 'MT') this.#add(words[0] ?? '')
    if (name === 'SH' || name === 'SS') this.#break()
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
    if (text !== '') this.#paragraphs.push(text)
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

// roff's escape sequences (groff_char(7), groff(7)): characters by name, fonts, spaces, strings.

/** What escapes may refer to. */
export interface RoffState {
  /** Strings that the page defined by `.ds`. */
  strings: Map<string, string>
}

const characters: Record<string, string> = {
  bu: '\u2022', aq: "'", dq: '"', em: '\u2014', en: '\u2013', hy: '-', co: '\u00a9', rg: '\u00ae', tm: '\u2122',
  lq: '\u201c', rq: '\u201d', oq: '\u2018', cq: '\u2019', Fo: '\u00ab', Fc: '\u00bb', rs: '\\', at: '@', ha: '^',
  ti: '~', ga: '`', sh: '#', Do: '$', lB: '[', rB: ']', lC: '{', rC: '}', la: '\u27e8', ra: '\u27e9', pl: '+', mi: '-',
  mu: '\u00d7', '+-': '\u00b1', '<=': '\u2264', '>=': '\u2265', '!=': '\u2260', '==': '\u2261', '->': '\u2192', '<-': '\u2190', de: '\u00b0', mc: '\u00b5',
  pd: '\u2202', if: '\u221e', is: '\u222b', '12': '\u00bd', '14': '\u00bc', '34': '\u00be', sc: '\u00a7', dg: '\u2020', dd: '\u2021', ul: '_', ru: '_',
  or: '|', br: '|', bv: '|', ba: '|', sl: '/', ss: '\u00df', eq: '=', fm: '\u2032', mo: '\u2208', '**': '*', '*a': '\u03b1', '*b': '\u03b2', '*p': '\u03c0', '*m': '\u03bc', '*W': '\u03a9',
} // biome-ignore format: a table is read by rows

/** Strings that the man macros or pod2man define. */
const macroStrings: Record<string, string> = {
  lq: '\u201c',
  rq: '\u201d',
  'L"': '\u201c',
  'R"': '\u201d',
  'C`': '',
  "C'": '',
  Aq: "'",
  '--': '\u2014',
  R: '\u00ae',
  Tm: '\u2122',
  PI: '\u03c0',
}

/** One escape: `\(xx`, `\[xxx]`, `\*x`, `\fB`, `\h'..'`, `\s+1`, `\n(xx`, `\-` ... */
const escapeSequence =
  /\\(?:\((..)|\[([^\]]*)\]|\*(?:\((..)|\[([^\]]*)\]|(.))|[fFgkmMnVY](?:\(..|\[[^\]]*\]|[+-]?.)|s(?:[+-]?\d|\([+-]?..|[+-]?'[^']*')|[bDhHlLNovSwxXZ]'[^']*'|[AB]'[^']*'|"(.*)$|(.))/g

/** Replaces every escape by the text that it prints. */
export function unescapeRoff(text: string, { strings }: RoffState): string {
  return text.replace(escapeSequence, (_, short, long, string2, stringLong, string1, comment, single) => {
    const name: string | undefined = short ?? long
    if (name !== undefined) return character(name)
    const string: string | undefined = string2 ?? stringLong ?? string1
    if (string !== undefined) return strings.get(string) ?? macroStrings[string] ?? ''
    if (comment !== undefined || single === undefined) return ''
    return singles[single as string] ?? ''
  })
}

/** `\x` for single characters x; the others print nothing. */
const singles: Record<string, string> = {
  '-': '-',
  '\\': '\\',
  e: '\\',
  E: '\\',
  ' ': ' ',
  '~': ' ',
  '0': ' ',
  t: '\t',
  "'": '\u00b4',
  '`': '`',
  '.': '.',
  _: '_',
}

function character(name: string): string {
  const code = /^u([\dA-F]{4,6})$/.exec(name)?.[1]
  if (code !== undefined && Number.parseInt(code, 16) <= 0x10ffff)
    return String.fromCodePoint(Number.parseInt(code, 16))
  return characters[name] ?? accented(name)
}

/** `:a` is an a with diaeresis, and so on. */
function accented(name: string): string {
  const mark = { ':': '\u0308', "'": '\u0301', '`': '\u0300', '^': '\u0302', '~': '\u0303', ',': '\u0327' }[
    name[0] ?? ''
  ]
  return mark !== undefined && name.length === 2 ? `${name[1]}${mark}`.normalize('NFC') : ''
}

// roff's escape sequences (groff_char(7), groff(7)): characters by name, fonts, spaces, strings.

/** What escapes may refer to. */
export interface RoffState {
  /** Strings that the page defined by `.ds`. */
  strings: Map<string, string>
}

/** `\(xx` and `\[xx]`. */
const characters = pairs(
  `bu \u2022  aq '  dq "  em \u2014  en \u2013  hy -  co \u00a9  rg \u00ae  tm \u2122  lq \u201c  rq \u201d
   oq \u2018  cq \u2019  Fo \u00ab  Fc \u00bb  at @  ha ^  ti ~  ga \`  sh #  Do $  lB [  rB ]  lC {  rC }
   la \u27e8  ra \u27e9  pl +  mi -  mu \u00d7  +- \u00b1  <= \u2264  >= \u2265  != \u2260  == \u2261  -> \u2192
   <- \u2190  de \u00b0  mc \u00b5  pd \u2202  if \u221e  is \u222b  12 \u00bd  14 \u00bc  34 \u00be  sc \u00a7
   dg \u2020  dd \u2021  ul _  ru _  or |  br |  bv |  ba |  sl /  ss \u00df  eq =  fm \u2032  mo \u2208  ** *
   *a \u03b1  *b \u03b2  *p \u03c0  *m \u03bc  *W \u03a9  rs \\`,
)

/** `\*x`, `\*(xx` and `\*[xx]`: strings that the man macros or pod2man define. */
const macroStrings = pairs(
  `lq \u201c  rq \u201d  L" \u201c  R" \u201d  Aq '  -- \u2014  R \u00ae  Tm \u2122  PI \u03c0`,
)

/** `\x` for single characters x; the others print nothing. */
const singles = new Map([
  ...pairs(`- -  \\ \\  e \\  E \\  ' \u00b4  \` \`  . .  _ _`),
  [' ', ' '],
  ['~', ' '],
  ['0', ' '],
  ['t', '\t'],
])

/** Marks that `\[:a]` and the like put on a letter. */
const accents = pairs(`: \u0308  ' \u0301  \` \u0300  ^ \u0302  ~ \u0303  , \u0327`)

/** Names of every form that an escape may have; what none of the others matches is a single character. */
const escapeSequence = new RegExp(
  [
    String.raw`\\(?:`,
    String.raw`\((?<short>..)|\[(?<long>[^\]]*)\]|`,
    String.raw`\*(?:\((?<string2>..)|\[(?<stringLong>[^\]]*)\]|(?<string1>.))|`,
    String.raw`[fFgkmMnVY](?:\(..|\[[^\]]*\]|[+-]?.)|`, // fonts, colours, registers
    String.raw`s(?:[+-]?\d|\([+-]?..|[+-]?'[^']*')|`, // sizes
    `[AbBDhHlLNovSwxXZ]'[^']*'|`, // movements, lines, measures
    '".*$|', // comments
    '(?<single>.))',
  ].join(''),
  'g',
)

type EscapeParts = Record<
  'short' | 'long' | 'string2' | 'stringLong' | 'string1' | 'single',
  string | undefined
>

/** Replaces every escape by the text that it prints. */
export function unescapeRoff(text: string, { strings }: RoffState): string {
  return text.replace(escapeSequence, (...match) => {
    const parts = match.at(-1) as EscapeParts
    const character = parts.short ?? parts.long
    if (character !== undefined) return namedCharacter(character)
    const string = parts.string2 ?? parts.stringLong ?? parts.string1
    if (string !== undefined) return strings.get(string) ?? macroStrings.get(string) ?? ''
    return singles.get(parts.single ?? '') ?? ''
  })
}

function namedCharacter(name: string): string {
  const code = Number.parseInt(/^u([\dA-F]{4,6})$/.exec(name)?.[1] ?? '', 16)
  if (code <= 0x10ffff) return String.fromCodePoint(code)
  const accent = name.length === 2 ? accents.get(name[0]!) : undefined
  return characters.get(name) ?? (accent === undefined ? '' : `${name[1]}${accent}`.normalize('NFC'))
}

/** `a b  c d` as a map from a to b and c to d. */
function pairs(text: string): Map<string, string> {
  const words = text.trim().split(/\s+/)
  return new Map(words.flatMap((word, i) => (i % 2 === 0 ? [[word, words[i + 1]!] as const] : [])))
}

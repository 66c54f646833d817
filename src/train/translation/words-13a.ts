// The words that BLEU counts: mteval-v13a.pl's, as sacrebleu's tokenizer `13a` has them.

/** Punctuation and symbols of ASCII stand alone, but for `'`, `,`, `-` and `.`. */
const symbols = /([{-~[-` -&(-+:-@/])/gu
/** `.` and `,` stand alone unless a digit is on that side; a dash does after a digit. */
const pointAfterText = /([^0-9])([.,])/gu
const pointBeforeText = /([.,])([^0-9])/gu
const dashAfterDigit = /([0-9])(-)/gu

/** The words of a line. */
export function words13a(line: string): string[] {
  const plain = line
    .replaceAll('<skipped>', '')
    .replaceAll('-\n', '')
    .replaceAll('\n', ' ')
    .replaceAll('&quot;', '"')
    .replaceAll('&amp;', '&')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
  return ` ${plain} `
    .replace(symbols, ' $1 ')
    .replace(pointAfterText, '$1 $2 ')
    .replace(pointBeforeText, ' $1 $2')
    .replace(dashAfterDigit, '$1 $2 ')
    .split(/\s+/)
    .filter(word => word !== '')
}

// Text as a model should see it: one spelling of each character, no control characters, no ragged white space.

// biome-ignore lint/suspicious/noControlCharactersInRegex: removing control characters is the point
const control = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\ufeff]/g
const loneSurrogate = /\p{Surrogate}/gu

/**
 * Unicode NFC, `\n` line ends, no control characters but tab and newline, no white space at line ends, at most one
 * blank line in a row. What cannot be written as UTF-8 becomes U+FFFD. Cleaning clean text changes nothing.
 */
export function cleanText(text: string): string {
  return text
    .replace(/\r\n?|[\u2028\u2029\u0085]/g, '\n')
    .replace(control, '')
    .replace(loneSurrogate, '\ufffd')
    .normalize('NFC')
    .split('\n')
    .map(line => line.trimEnd())
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .replace(/^\n+|\n+$/g, '')
}

/** How many characters stand in for bytes that were not UTF-8. */
export function countReplacements(text: string): number {
  let count = 0
  for (let at = text.indexOf('\ufffd'); at !== -1; at = text.indexOf('\ufffd', at + 1)) count++
  return count
}

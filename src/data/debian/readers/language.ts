// Translated manuals hold paragraphs that nobody has translated yet; these tests find them.

import type { Reader } from './files.ts'

/** Whether a paragraph belongs to the language. */
export type ParagraphTest = (paragraph: string) => boolean

/** Shorter paragraphs are names, commands and headings, which no language owns. */
const telling = 60

/** Leaves out the long paragraphs that fail a test. */
export function keepParagraphs(read: Reader, test: ParagraphTest): Reader {
  return function* filtered(folder) {
    for (const { text, place } of read(folder)) {
      const kept = text.split('\n\n').filter(paragraph => paragraph.length < telling || test(paragraph))
      yield { text: kept.join('\n\n'), place }
    }
  }
}

/** Holds a character of the language's script. */
export function inScript(script: RegExp): ParagraphTest {
  return paragraph => script.test(paragraph)
}

/** Frequent words that German, French and Spanish do not have. */
const englishWords = /\b(?:the|of|and|is|that|this|with|for|are|which|from|by|be|it|if|when|not|you|your)\b/gi

/** For languages in Latin letters: fewer than a tenth of the words are frequent English ones. */
export function notEnglish(paragraph: string): boolean {
  const words = paragraph.match(/\p{L}+/gu)?.length ?? 0
  const english = paragraph.match(englishWords)?.length ?? 0
  return english * 10 < words
}

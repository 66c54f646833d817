// Long texts in parts of sensible size, cut where a reader would pause.

/** Longest document in UTF-16 units: some pages of prose, so that two percent of a small corpus is still several. */
export const maxDocumentLength = 16_384

/** Cuts a text into parts of at most `limit` units which, joined, give the text again. */
export function splitText(text: string, limit = maxDocumentLength): string[] {
  const parts: string[] = []
  let start = 0
  while (text.length - start > limit) {
    const end = start + cutPoint(text.slice(start, start + limit))
    parts.push(text.slice(start, end))
    start = end
  }
  if (start < text.length) parts.push(text.slice(start))
  return parts
}

/** Where to cut a text that goes on: after its last paragraph, else line, else word, but not before its middle. */
function cutPoint(text: string): number {
  for (const pause of ['\n\n', '\n', ' ']) {
    const last = text.lastIndexOf(pause)
    if (last !== -1 && last + pause.length >= text.length / 2) return last + pause.length
  }
  const last = text.charCodeAt(text.length - 1)
  const splitsPair = last >= 0xd800 && last <= 0xdbff
  return splitsPair && text.length > 1 ? text.length - 1 : text.length
}

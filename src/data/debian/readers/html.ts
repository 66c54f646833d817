// HTML pages as plain text: one paragraph per block, code as it stands.

const entities = new Map([
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
  ['nbsp', '\u00a0'],
  ['ndash', '\u2013'],
  ['mdash', '\u2014'],
  ['hellip', '\u2026'],
  ['copy', '\u00a9'],
])

/** Elements that begin and end a paragraph; the rest stand inside one. */
const blocks = /<\/?(?:p|div|h[1-6]|li|ul|ol|dl|dt|dd|table|tr|blockquote|section|article|br)\b[^>]*>/gi

/** Text of a page, or of what stands between two marks in its source. */
export function htmlToText(html: string, { from = '<body', to = '</body' } = {}): string {
  const start = Math.max(0, html.indexOf(from))
  const end = html.indexOf(to, start)
  const body = html
    .slice(html.indexOf('>', start) + 1, end === -1 ? undefined : end)
    .replace(/<!--[\s\S]*?-->|<(script|style|noscript|nav|button)\b[\s\S]*?<\/\1>/gi, '')
  return body
    .split(/(<pre\b[\s\S]*?<\/pre>)/i)
    .map(part =>
      /^<pre/i.test(part) ? `\n\n${stripTags(part).replace(/\n\s*\n/g, '\n')}\n\n` : flowToText(part),
    )
    .join('')
}

function flowToText(html: string): string {
  return html
    .replace(/\s+/g, ' ')
    .replace(/<li\b[^>]*>/gi, '\n\n- ')
    .replace(/<\/t[dh]>\s*(?=<t[dh])/gi, ' | ')
    .replace(blocks, '\n\n')
    .split('\n\n')
    .map(paragraph => stripTags(paragraph).replace(/ +/g, ' ').trim())
    .filter(paragraph => /[\p{L}\p{N}]/u.test(paragraph))
    .join('\n\n')
}

function stripTags(html: string): string {
  return html.replace(/<[^>]*>/g, '').replace(/&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi, decodeEntity)
}

function decodeEntity(entity: string, decimal?: string, hex?: string, name?: string): string {
  if (name !== undefined) return entities.get(name) ?? entity
  const code = decimal === undefined ? Number.parseInt(hex!, 16) : Number(decimal)
  return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : ''
}

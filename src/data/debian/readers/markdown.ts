// Markdown prose as plain text: words without links, emphasis and hard line ends.

/** Keeps headings, paragraphs and list items; drops link targets, images, rules and lists of links. */
export function markdownToText(markdown: string): string {
  return markdown
    .replace(/\r\n/g, '\n')
    .replace(/!\[[^\]]*\]\([^)]*\)/g, '')
    .replace(/^\s*(?:>\s?)+/gm, '')
    .split(/\n\s*\n/)
    .filter(block => !isLinkList(block) && !/^[\s*_#-]*$/.test(block))
    .map(blockToText)
    .join('\n\n')
}

const link = /\[((?:[^[\]]|\[[^\]]*\])*)\]\([^)]*\)/g

/** Tables of contents: nothing stays of them once the links are gone. */
function isLinkList(block: string): boolean {
  const rest = block.replace(link, '')
  return rest !== block && !/\p{L}{3}/u.test(rest)
}

function blockToText(block: string): string {
  return block
    .replace(link, '$1')
    .split(/\n(?=\s*(?:[*+-]|\d+\.)\s|\s*#)/) // an item or heading begins a line; other line ends were only wrapped
    .map(line => inlineToText(line.replace(/(?<=\p{L}-)\n\s*/gu, '').replace(/\s*\n\s*/g, ' ')).trimEnd())
    .join('\n')
}

function inlineToText(line: string): string {
  return line
    .replace(/^\s*#+\s*/, '')
    .replace(/^(\s*)[*+]\s/, '$1- ')
    .replace(/\*\*|__| _(?= )/g, '')
    .replace(/(^|[\s("'])[_*](?=\S)/g, '$1')
    .replace(/(\S)[_*](?=[\s.,;:!?)"']|$)/g, '$1')
    .replace(/\\([\\`*_{}[\]()#+.!<>-])/g, '$1')
}

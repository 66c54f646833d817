// Colours and tables. Colours only where they are seen: on a terminal, without NO_COLOR.

const colourful = process.stdout.isTTY && !process.env.NO_COLOR

const paint = (code: number) => (text: string) => (colourful ? `\u001b[${code}m${text}\u001b[0m` : text)

export const bold = paint(1)
export const dim = paint(2)
export const red = paint(31)
export const green = paint(32)
export const yellow = paint(33)
export const cyan = paint(36)

/**
 * Rows as aligned columns, the first row as heading. Numbers (texts that start with a digit, sign or `<`) align
 * right.
 */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map(row => visibleLength(row[column] ?? ''))),
  )
  const numeric = widths.map((_, column) =>
    rows.slice(1).every(row => /^[-+<\d]|^$/.test(plain(row[column] ?? ''))),
  )
  const lines = rows.map((row, i) => {
    const cells = row.map((cell, column) => {
      const padding = ' '.repeat((widths[column] ?? 0) - visibleLength(cell))
      return numeric[column] ? padding + cell : cell + padding
    })
    return i === 0 ? dim(cells.join('  ').trimEnd()) : cells.join('  ').trimEnd()
  })
  return lines.join('\n')
}

/** A table of as many columns as fit beside the first one, with the others below it. */
export function wrappedTable(rows: readonly (readonly string[])[], width: number): string {
  const widest = (cells: readonly string[]): number => Math.max(0, ...cells.map(visibleLength))
  const first = widest(rows.map(([cell = '']) => cell))
  const other = widest(rows.flatMap(([, ...cells]) => cells)) + 2
  const perPart = Math.max(1, Math.floor((width - first) / other))
  const columns = (rows[0]?.length ?? 1) - 1
  const parts = Array.from({ length: Math.ceil(columns / perPart) }, (_, part) => {
    const start = 1 + part * perPart
    return table(rows.map(row => [row[0] ?? '', ...row.slice(start, start + perPart)]))
  })
  return parts.join('\n')
}

/** A list as lines of at most `width` columns, each below the first item, which stands at column `indent`. */
export function wrapList(items: readonly string[], indent: number, width: number): string {
  const lines: string[] = []
  for (const item of items) {
    const line = lines.at(-1)
    if (line !== undefined && indent + line.length + item.length + 3 <= width)
      lines[lines.length - 1] = `${line}, ${item}`
    else lines.push(item)
  }
  return lines.join(`,\n${' '.repeat(indent)}`)
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes start with the escape character
const colourCode = /\u001b\[\d+m/g

const plain = (text: string): string => text.replace(colourCode, '')
export const visibleLength = (text: string): number => plain(text).length

/** Cuts a line to what a terminal shows of it; a cut line loses its colours. */
export function truncate(text: string, width: number): string {
  return visibleLength(text) <= width ? text : plain(text).slice(0, width)
}

/** 1234567 as `1,234,567`. */
export const count = (value: number): string => value.toLocaleString('en')

/** 1234567 as `1.23M`. */
export function shortCount(value: number): string {
  return short(value, ['', 'k', 'M', 'B', 'T'])
}

/** Bytes as `1.23 GB` (powers of 1000, as disks count). */
export function shortBytes(bytes: number): string {
  return short(bytes, [' B', ' kB', ' MB', ' GB', ' TB'])
}

/** Three digits and the unit in which they are below 1000 once rounded. */
function short(value: number, units: readonly string[]): string {
  let [scaled, unit] = [value, 0]
  for (; Math.abs(scaled) >= 999.5 && unit < units.length - 1; unit++) scaled /= 1000
  if (unit === 0 && Number.isInteger(value)) return `${value}${units[0]}`
  const size = Math.abs(scaled)
  const digits = size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2
  return `${scaled.toFixed(digits)}${units[unit]}`
}

/** Seconds as `1h 02m`, `3m 04s` or `5.6s`. */
export function shortTime(seconds: number): string {
  if (seconds < 60) return `${seconds < 9.95 ? seconds.toFixed(1) : Math.floor(seconds)}s`
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0')
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`
  return `${Math.floor(seconds / 3600)}h ${two((seconds % 3600) / 60)}m`
}

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

// biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes start with the escape character
const colourCode = /\u001b\[\d+m/g

const plain = (text: string): string => text.replace(colourCode, '')
const visibleLength = (text: string): number => plain(text).length

/** Cuts a line to what a terminal shows of it; a cut line loses its colours. */
export function truncate(text: string, width: number): string {
  return visibleLength(text) <= width ? text : plain(text).slice(0, width)
}

/** 1234567 as `1.2M`. */
export function shortCount(value: number): string {
  return short(value, 1000, ['', 'k', 'M', 'B', 'T'])
}

/** Bytes as `1.2 GB` (powers of 1000, as disks count). */
export function shortBytes(bytes: number): string {
  return short(bytes, 1000, [' B', ' kB', ' MB', ' GB', ' TB'])
}

function short(value: number, base: number, units: readonly string[]): string {
  let scaled = value
  let unit = 0
  while (Math.abs(scaled) >= base && unit < units.length - 1) {
    scaled /= base
    unit++
  }
  const digits = unit === 0 || Math.abs(scaled) >= 100 ? 0 : Math.abs(scaled) >= 10 ? 1 : 2
  return `${unit === 0 && !Number.isInteger(scaled) ? scaled.toFixed(2) : scaled.toFixed(digits)}${units[unit]}`
}

/** Seconds as `1h 02m`, `3m 04s` or `5.6s`. */
export function shortTime(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)}s`
  const two = (value: number): string => String(Math.floor(value)).padStart(2, '0')
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${two(seconds % 60)}s`
  return `${Math.floor(seconds / 3600)}h ${two((seconds % 3600) / 60)}m`
}

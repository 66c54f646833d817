// Curves in plain characters.

export interface Curve {
  /** One character. */
  mark: string
  /** [x, y], both 0 to 1, x ascending. */
  points: readonly (readonly [number, number])[]
}

const axis = '100% ' // the widest label

/**
 * Curves over 0 to 100% both ways, straight between their points. Where several meet, the first is seen.
 *
 * @param width columns, labels included
 * @param height lines of the field between the axes
 */
export function plot(curves: readonly Curve[], width: number, height: number): string {
  const columns = width - axis.length - 1
  const field = Array.from({ length: height }, () => new Array<string>(columns).fill(' '))
  for (const curve of [...curves].reverse()) draw(curve, field, columns)
  const label = (row: number): string => {
    const share = 1 - row / (height - 1)
    return Number.isInteger(share * 4)
      ? `${share * 100}%`.padStart(axis.length - 1)
      : ' '.repeat(axis.length - 1)
  }
  const lines = field.map((cells, row) => `${label(row)} |${cells.join('')}`.trimEnd())
  return [...lines, `${' '.repeat(axis.length)}+${'-'.repeat(columns)}`, ticks(columns)].join('\n')
}

function draw({ mark, points }: Curve, field: string[][], columns: number): void {
  for (let column = 0; column < columns; column++) {
    const y = heightAt(points, column / (columns - 1), 1 / (2 * (columns - 1)))
    if (y === null) continue
    const row = Math.round((1 - y) * (field.length - 1))
    ;(field[row] as string[])[column] = mark
  }
}

/** The curve's height, null beside its ends. `reach` is how far a point is seen, so that one alone is. */
function heightAt(points: Curve['points'], x: number, reach: number): number | null {
  const near = points.find(([at]) => Math.abs(at - x) <= reach)
  if (near) return near[1]
  const after = points.findIndex(([at]) => at > x)
  const [left, right] = [points[after - 1], points[after]]
  if (!left || !right) return null
  return left[1] + ((right[1] - left[1]) * (x - left[0])) / (right[0] - left[0])
}

/** Labels below the axis at every quarter. */
function ticks(columns: number): string {
  const labels = ['0%', '25%', '50%', '75%', '100%']
  return labels.reduce((line, label, i) => {
    const at = axis.length + 1 + Math.round((i / 4) * (columns - 1)) - Math.floor(label.length / 2)
    return line.padEnd(Math.min(at, axis.length + 1 + columns - label.length)) + label
  }, '')
}

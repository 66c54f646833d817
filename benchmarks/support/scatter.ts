// A labelled scatter plot as an SVG of its own.

export interface Point {
  label: string
  x: number
  y: number
}

export interface Axes {
  title: string
  x: string
  y: string
}

const size = { width: 860, height: 560, left: 70, right: 170, top: 50, bottom: 60 }

/** The x axis is logarithmic. */
export function scatter(points: readonly Point[], axes: Axes): string {
  const [xs, ys] = [points.map(point => Math.log10(point.x)), points.map(point => point.y)]
  const x = scale(xs, size.left, size.width - size.right)
  const y = scale(ys, size.height - size.bottom, size.top)
  const bottom = size.height - size.bottom
  const places = points.map(point => ({ point, cx: x(Math.log10(point.x)), cy: y(point.y) }))
  const marks = withLabels(places).map(
    ({ point, cx, cy, labelY }) =>
      `<circle cx="${cx.toFixed(1)}" cy="${cy.toFixed(1)}" r="4"/><text x="${(cx + 7).toFixed(1)}" y="${labelY.toFixed(1)}">${escaped(point.label)}</text>`,
  )
  const xTicks = ticks(xs, 5).map(
    tick =>
      `<line x1="${x(tick).toFixed(1)}" y1="${bottom}" x2="${x(tick).toFixed(1)}" y2="${bottom + 5}"/><text x="${x(tick).toFixed(1)}" y="${bottom + 20}" text-anchor="middle">${(10 ** tick).toPrecision(2)}</text>`,
  )
  const yTicks = ticks(ys, 5).map(
    tick =>
      `<line x1="${size.left - 5}" y1="${y(tick).toFixed(1)}" x2="${size.left}" y2="${y(tick).toFixed(1)}"/><text x="${size.left - 9}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${tick.toFixed(2)}</text>`,
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<text x="${size.left}" y="28" font-size="16" font-weight="bold">${escaped(axes.title)}</text>
<g stroke="#888" fill="none"><path d="M${size.left} ${size.top}V${bottom}H${size.width - size.right}"/></g>
<g stroke="#888" stroke-width="0.6" fill="#333">${xTicks.join('')}${yTicks.join('')}</g>
<text x="${(size.left + size.width - size.right) / 2}" y="${size.height - 14}" text-anchor="middle">${escaped(axes.x)}</text>
<text transform="translate(18 ${(size.top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escaped(axes.y)}</text>
<g fill="#1f5fa8">${marks.join('')}</g>
</svg>
`
}

interface Place {
  point: Point
  cx: number
  cy: number
}

/** Moves labels up, a line at a time, until they cover no other. */
function withLabels(places: readonly Place[]): (Place & { labelY: number })[] {
  const placed: { from: number; to: number; y: number }[] = []
  return [...places]
    .sort((a, b) => b.cy - a.cy)
    .map(place => {
      const [from, to] = [place.cx, place.cx + 7 + 6.5 * place.point.label.length]
      let labelY = place.cy + 4
      while (placed.some(other => from < other.to && to > other.from && Math.abs(labelY - other.y) < 13))
        labelY -= 2
      placed.push({ from, to, y: labelY })
      return { ...place, labelY }
    })
}

function scale(values: readonly number[], from: number, to: number): (value: number) => number {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const margin = (high - low || 1) * 0.06
  return value => from + ((value - low + margin) / (high - low + 2 * margin)) * (to - from)
}

function ticks(values: readonly number[], count: number): number[] {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  return Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1))
}

const escaped = (text: string): string => text.replace(/&/g, '&amp;').replace(/</g, '&lt;')

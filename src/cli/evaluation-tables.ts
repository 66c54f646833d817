// Evaluations as tables: scores per domain, expert load per domain.

import type { Evaluation, Shift, Translation } from '../train/index.ts'
import { bold, count, cyan, dim, green, red, table, wrappedTable } from './terminal.ts'

/** Loss, perplexity and bits per byte of each domain and of all. */
export function evaluationTable({ domains, ...total }: Evaluation): string {
  const rows = [...domains, { name: 'all', ...total }].map(
    ({ name, tokens, loss, perplexity, bitsPerByte }) => [
      name,
      count(tokens),
      loss.toFixed(4),
      perplexity.toFixed(2),
      bitsPerByte.toFixed(4),
    ],
  )
  return table([['domain', 'tokens', 'loss', 'perplexity', 'bits/byte'], ...rows])
}

/** BLEU and chrF of what was written, of each domain and of all. */
export function translationTable({ domains, ...total }: Translation): string {
  const rows = [...domains, { name: 'all', ...total }].map(({ name, texts, bleu, chrf }) => [
    name,
    count(texts),
    bleu.toFixed(1),
    chrf.toFixed(1),
  ])
  return table([['written', 'texts', 'BLEU', 'chrF2'], ...rows])
}

/** What was forgotten and learnt since, and where other experts are used. */
export function shiftTable({ domains, experts }: Shift, before: string): string {
  const rows = domains.map(({ name, before: earlier, after, change }) => {
    const text = `${change < 0 ? '-' : '+'}${Math.abs(change).toFixed(4)}`
    return [name, earlier.toFixed(4), after.toFixed(4), change > 0 ? red(text) : green(text)]
  })
  const losses = table([['domain', 'before', 'now', 'change of loss'], ...rows])
  const moved = experts.map(({ layer, divergence }) => [`layer ${layer}`, divergence.toFixed(4)])
  const shares = moved.length === 0 ? '' : `\n\n${table([['use of experts', 'moved, bits'], ...moved])}`
  return `${bold(`against ${before}`)}\n\n${losses}${shares}`
}

/** What experts did, layer by layer. Empty for dense models. */
export function expertTables(evaluation: Evaluation, width: number): string {
  return `${expertLoadTable(evaluation, width)}${retrievalTable(evaluation)}`
}

/** How many of its experts each PEER layer uses, and how evenly. Empty for models without. */
function retrievalTable({ retrieval }: Evaluation): string {
  if (retrieval.length === 0) return ''
  const rows = retrieval.map(({ layer, numExperts, used, unevenness }) => [
    `layer ${layer}`,
    count(numExperts),
    `${(100 * used).toFixed(1)}%`,
    unevenness.toFixed(3),
  ])
  return `\n\n${bold('use of retrieved experts')}\n\n${table([['', 'experts', 'used', 'unevenness'], ...rows])}`
}

/** More columns than this say nothing to the eye. */
const mostColumns = 32

/** Which share of each domain's tokens each expert takes, layer by layer. Empty for models without routers. */
export function expertLoadTable({ domains, moeLayers, expertLoad }: Evaluation, width: number): string {
  const numExperts = expertLoad[0]?.[0]?.length
  if (numExperts === undefined) return ''
  const names = domains.map(domain => domain.name)
  const layers = expertLoad.map((loads, i) => {
    const rows = loads.filter(load => load.some(slots => slots > 0)).map(shares)
    const layer = `layer ${moeLayers[i] ?? i}`
    return numExperts > mostColumns
      ? extremesTable(layer, names, rows)
      : shareTable(layer, names, rows, width)
  })
  const title = bold('share of routed tokens in %, by layer and expert')
  return `\n\n${title}\n\n${layers.join('\n\n')}`
}

function shares(load: readonly number[]): number[] {
  const total = load.reduce((a, b) => a + b, 0)
  return load.map(slots => (100 * slots) / total)
}

/** A column for each expert. */
function shareTable(
  layer: string,
  names: readonly string[],
  rows: readonly number[][],
  width: number,
): string {
  const heading = [layer, ...(rows[0] ?? []).map((_, expert) => String(expert))]
  return wrappedTable([heading, ...rows.map((row, d) => [names[d] ?? '', ...row.map(shade)])], width)
}

/** A share, marked when it is more than half above, or less than half of, an even one. */
function shade(share: number, _: number, { length }: readonly number[]): string {
  const text = share > 0 && share < 1 ? '<1' : share.toFixed(0)
  const even = 100 / length
  if (share > 1.5 * even) return cyan(text)
  return share < 0.5 * even ? dim(text) : text
}

/** The busiest and the quietest of many experts. */
function extremesTable(layer: string, names: readonly string[], rows: readonly number[][]): string {
  const cells = rows.map((row, d) => {
    const [most, least] = [Math.max(...row), Math.min(...row)]
    return [
      names[d] ?? '',
      `${most.toFixed(1)}`,
      `${row.indexOf(most)}`,
      `${least.toFixed(1)}`,
      `${row.indexOf(least)}`,
      `${row.filter(share => share === 0).length}`,
    ]
  })
  return table([[layer, 'most', 'expert', 'least', 'expert', 'idle experts'], ...cells])
}

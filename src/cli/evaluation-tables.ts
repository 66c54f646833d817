// Evaluations as tables: scores per domain, expert load per domain.

import type { Evaluation } from '../train/index.ts'
import { cyan, dim, table } from './terminal.ts'

/** Loss, perplexity and bits per byte of each domain and of all. */
export function evaluationTable({ domains, ...total }: Evaluation): string {
  const rows = [...domains, { name: 'all', ...total }].map(
    ({ name, tokens, loss, perplexity, bitsPerByte }) => [
      name,
      tokens.toLocaleString('en'),
      loss.toFixed(4),
      perplexity.toFixed(2),
      bitsPerByte.toFixed(4),
    ],
  )
  return table([['domain', 'tokens', 'loss', 'perplexity', 'bits/byte'], ...rows])
}

/** Which share of each domain's tokens each expert takes, layer by layer. Empty for dense models. */
export function expertLoadTable({ domains, expertLoad }: Evaluation): string {
  return expertLoad
    .map(
      (layer, i) =>
        `\n\n${dim(`layer ${i}`)}\n${layerTable(
          layer,
          domains.map(domain => domain.name),
        )}`,
    )
    .join('')
}

function layerTable(loads: readonly number[][], domains: readonly string[]): string {
  const used = loads.filter(load => load.some(count => count > 0))
  const even = 1 / (used[0]?.length ?? 1)
  const rows = used.map((load, d) => {
    const total = load.reduce((a, b) => a + b, 0)
    return [domains[d] ?? '', ...load.map(count => shade(count / total, even))]
  })
  return table([['domain', ...(used[0] ?? []).map((_, e) => `expert ${e}`)], ...rows])
}

/** A share in percent, marked when it is more than half above, or less than half of, an even one. */
function shade(share: number, even: number): string {
  const text = `${(share * 100).toFixed(1)}%`
  if (share > 1.5 * even) return cyan(text)
  return share < 0.5 * even ? dim(text) : text
}

// What a quantized file holds, as tables.

import type { QuantizedModel, TensorReport } from '../lifecycle/index.ts'
import type { Evaluation } from '../train/index.ts'
import { bold, count, green, shortBytes, table, yellow } from './terminal.ts'

/** A row for each tensor that was rounded, and what there is to know of all. */
export function quantizedSummary(out: string, { tensors, bytes, bitsPerWeight }: QuantizedModel): string {
  const rounded = tensors.filter(({ error }) => error !== null)
  const heading = ['tensor', 'type', 'bits', 'error', 'to nearest', 'samples', 'median']
  const counts = `${tensors.length} tensors, ${bitsPerWeight.toFixed(2)} bits per weight, ${shortBytes(bytes)}`
  return [
    table([heading, ...rounded.map(rowOf)]),
    '',
    'error: of outputs, squared, relative; to nearest: what plain rounding loses.',
    ...methodNote(rounded),
    ...unseenNotes(tensors),
    `${green('ok')} ${out}: ${counts}`,
  ].join('\n')
}

function rowOf({ name, type, bits, error, plainError, samples }: TensorReport): string[] {
  const none = '-'
  return [
    name.replace(/\.weight$/, ''),
    type,
    bits.toFixed(2),
    scientific(error),
    scientific(plainError),
    samples ? count(samples.least) : none,
    samples ? count(samples.median) : none,
  ]
}

const scientific = (value: number | null): string => value?.toExponential(2) ?? '-'

/** What GPTQ left to others. */
function methodNote(tensors: readonly TensorReport[]): string[] {
  const sum = (method: 'gptq' | 'fitted' | 'nearest'): number =>
    tensors.reduce((total, { methods }) => total + (methods?.[method] ?? 0), 0)
  if (sum('gptq') === 0) return []
  return [`matrices: ${sum('gptq')} by GPTQ, ${sum('fitted')} fitted, ${sum('nearest')} to nearest.`]
}

/** Experts that were rounded without data, by tensor; more than a few are counted. */
function unseenNotes(tensors: readonly TensorReport[]): string[] {
  return tensors.flatMap(({ name, samples }) => {
    const unseen = samples?.unseen ?? []
    if (unseen.length === 0) return []
    const some = unseen.slice(0, 8).join(', ')
    const experts = unseen.length > 8 ? `${some} and ${unseen.length - 8} more` : some
    return [`${yellow('note:')} ${name}: no samples of experts ${experts}, which were rounded to nearest`]
  })
}

/** Perplexity of each domain before and after. */
export function evaluationChanges(before: Evaluation, after: Evaluation): string {
  const scores = (of: Evaluation) => [...of.domains, { ...of, name: 'all' }]
  const rows = scores(before).map(({ name, perplexity }, i) => {
    const now = scores(after)[i]?.perplexity ?? Number.NaN
    const change = 100 * (now / perplexity - 1)
    return [name, perplexity.toFixed(3), now.toFixed(3), `${change < 0 ? '' : '+'}${change.toFixed(2)}%`]
  })
  return `${bold('perplexity')}\n\n${table([['domain', 'before', 'after', 'change'], ...rows])}`
}

// Which windows are trained on, one after another: all of the text again and again, or domains by weight.

import { z } from 'zod'
import { DomainSampler, type WindowOrder, WindowSampler } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import type { ModelText } from './examples.ts'

const weight = z.number().nonnegative()

/** `data.weights` in recipes: of each domain of the corpus. */
export const weightsSchema = z.record(
  z.string(),
  z.union([
    weight,
    /** Changing evenly over the first so many steps. */
    z.strictObject({ from: weight, to: weight, over: z.int().positive() }),
  ]),
)

export type DomainWeights = z.infer<typeof weightsSchema>
type DomainWeight = DomainWeights[string]

export interface WindowOrderOptions {
  /** Names of the corpus's domains. */
  domains: readonly string[]
  /** Default: each window as often as any other. */
  weights?: DomainWeights | undefined
  windowsPerStep: number
  seed: number
}

/**
 * The order of the windows of a text. A window belongs to the domain of its first token.
 *
 * @throws ConfigError for weights that do not fit the text's domains
 */
export function windowOrder(
  text: Pick<ModelText, 'count' | 'firstDomain'>,
  { domains, weights, windowsPerStep, seed }: WindowOrderOptions,
): WindowOrder {
  if (!weights) return new WindowSampler({ windows: text.count, seed })
  const windows: number[][] = domains.map(() => [])
  for (let window = 0; window < text.count; window++) windows[text.firstDomain(window)]?.push(window)
  const ordered = domains.map((name, domain) => weightOf(weights, name, windows[domain]?.length ?? 0))
  refuseUnknown(weights, domains)
  refuseNothing(ordered)
  const weightsAt = (draw: number): number[] =>
    ordered.map(each => weightAt(each, Math.floor(draw / windowsPerStep)))
  return new DomainSampler({ windows, weightsAt, seed })
}

function weightAt(weight: DomainWeight, step: number): number {
  if (typeof weight === 'number') return weight
  const { from, to, over } = weight
  return from + (to - from) * Math.min(1, step / over)
}

function weightOf(weights: DomainWeights, name: string, windows: number): DomainWeight {
  const path = `data.weights.${name}`
  const weight = weights[name]
  if (weight === undefined)
    throw new ConfigError('is missing, a domain of the corpus: give it a weight, or 0', { path })
  const most = typeof weight === 'number' ? weight : Math.max(weight.from, weight.to)
  if (most > 0 && windows === 0)
    throw new ConfigError(
      `${most} for a domain with no window that begins in it: set 0, or prepare more of it`,
      { path },
    )
  return weight
}

function refuseUnknown(weights: DomainWeights, domains: readonly string[]): void {
  const unknown = Object.keys(weights).find(name => !domains.includes(name))
  if (unknown === undefined) return
  throw new ConfigError(`no domain of the corpus, which has ${domains.join(', ')}`, {
    path: `data.weights.${unknown}`,
  })
}

/** Weights change along lines: their sum is 0 somewhere only if it is at an end of one. */
function refuseNothing(weights: readonly DomainWeight[]): void {
  const turns = [0, ...weights.map(each => (typeof each === 'number' ? 0 : each.over))]
  const empty = turns.find(step => weights.every(each => weightAt(each, step) === 0))
  if (empty === undefined) return
  throw new ConfigError(`all are 0 at step ${empty}: give one more than that`, { path: 'data.weights' })
}

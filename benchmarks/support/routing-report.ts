// What an evaluation says about how tokens were spread over experts.
// Shapes: L layers, N domains, E experts; load is [L][N][E], slots served.

export interface Spread {
  /** Largest over layers of the heaviest load over the mean, minus one (MaxVio): 0 is perfect balance. */
  maxViolation: number
  /** Experts of all layers with less than 1% of the mean load. */
  dead: number
  /** Mutual information of domain and expert over the entropy of domains, mean over layers: 0 to 1. */
  specialisation: number
  /** Slots served per token. */
  perToken: number
}

export function spreadOf(load: readonly number[][][], tokens: number): Spread {
  const layers = load.map(domains => {
    const experts = (domains[0] ?? []).map((_, e) => sum(domains.map(domain => domain[e] ?? 0)))
    return { domains, experts, mean: sum(experts) / experts.length }
  })
  return {
    maxViolation: Math.max(0, ...layers.map(({ experts, mean }) => Math.max(...experts) / mean - 1)),
    dead: sum(layers.map(({ experts, mean }) => experts.filter(count => count < 0.01 * mean).length)),
    specialisation:
      layers.length === 0 ? 0 : sum(layers.map(layer => shareKnown(layer.domains))) / layers.length,
    perToken:
      layers.length === 0 ? 0 : sum(layers.map(({ experts }) => sum(experts))) / layers.length / tokens,
  }
}

/** How much of a token's domain its expert tells: `I(domain; expert) / H(domain)`. */
function shareKnown(domains: readonly number[][]): number {
  const total = sum(domains.map(sum))
  const ofDomain = domains.map(domain => sum(domain) / total)
  const ofExpert = (domains[0] ?? []).map((_, e) => sum(domains.map(domain => domain[e] ?? 0)) / total)
  let information = 0
  for (const [d, domain] of domains.entries()) {
    for (const [e, count] of domain.entries()) {
      const joint = count / total
      if (joint > 0) information += joint * Math.log(joint / ((ofDomain[d] ?? 0) * (ofExpert[e] ?? 0)))
    }
  }
  const entropy = -sum(ofDomain.map(p => (p > 0 ? p * Math.log(p) : 0)))
  return entropy > 0 ? information / entropy : 0
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)

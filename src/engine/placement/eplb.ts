// EPLB, the balancer of DeepSeek-V3's experts (github.com/deepseek-ai/EPLB; arXiv:2412.19437, section 3.4): hot experts get
// copies, and copies are spread so that every GPU has as much to do. Where groups of experts (group-limited routing) can be
// dealt out to nodes whole, they are, so that a token's experts are on few nodes.
// Shapes: L layers, E experts, R copies of experts in all, the places of GPU g being R/G g .. R/G (g + 1) - 1.

import { ConfigError, invariant } from '../../errors.ts'

/** Where each item lies. */
export interface Packing {
  /** The pack of each item. */
  pack: number[]
  /** Its place within the pack. */
  place: number[]
}

/**
 * Items into packs of equally many, so that packs weigh about the same: from the heaviest down, each into the lightest pack
 * that has room.
 *
 * @throws ConfigError where the items cannot be equally many
 */
export function balancedPacking(weights: readonly number[], packs: number): Packing {
  requireDivisible('packs', weights.length, packs)
  const room = weights.length / packs
  const [loads, filled] = [zeros(packs), zeros(packs)]
  const result: Packing = { pack: zeros(weights.length), place: zeros(weights.length) }
  for (const item of heaviestFirst(weights)) {
    const pack = lightest(loads, filled, room)
    result.pack[item] = pack
    result.place[item] = filled[pack]!++
    loads[pack]! += weights[item] as number
  }
  return result
}

/** Indices in descending order of weight; of equals the lower index first. */
const heaviestFirst = (weights: readonly number[]): number[] =>
  Array.from(weights.keys()).sort((a, b) => weights[b]! - weights[a]! || a - b)

function lightest(loads: readonly number[], filled: readonly number[], room: number): number {
  let best = -1
  for (const [pack, load] of loads.entries())
    if (filled[pack]! < room && (best === -1 || load < loads[best]!)) best = pack
  invariant(best !== -1, 'packs have room for all items')
  return best
}

export interface Replication {
  /** `[R]`: the expert that each copy is of; the first E are one of each. */
  expert: number[]
  /** `[R]`: which of its expert's copies each is, from 0. */
  copy: number[]
  /** `[E]`: copies of each expert. */
  counts: number[]
}

/**
 * One copy of each expert, then one more at a time of that whose copies have most to do, `load / copies`.
 *
 * @throws ConfigError for fewer copies than experts
 */
export function replicateExperts(load: readonly number[], replicas: number): Replication {
  if (!Number.isSafeInteger(replicas) || replicas < load.length)
    throw new ConfigError(`must be a whole number of at least the ${load.length} experts, got ${replicas}`, {
      path: 'replicas',
    })
  const result: Replication = {
    expert: Array.from(load.keys()),
    copy: zeros(load.length),
    counts: load.map(() => 1),
  }
  while (result.expert.length < replicas) {
    const busiest = indexOfMost(load.map((tokens, e) => tokens / result.counts[e]!))
    result.expert.push(busiest)
    result.copy.push(result.counts[busiest]!++)
  }
  return result
}

const indexOfMost = (values: readonly number[]): number =>
  values.reduce((most, value, i) => (value > values[most]! ? i : most), 0)

export interface EplbOptions {
  /** Copies of experts in each layer, over all GPUs. */
  replicas: number
  gpus: number
  /** Default: 1. */
  nodes?: number
  /** Groups of experts that follow each other, of group-limited routing. Default: 1. */
  groups?: number
}

/** Where the copies of one layer's experts are. */
export interface LayerPlacement {
  /** `[R]`: the expert in each place. */
  expertAt: number[]
  /** `[E]` lists of places, in the order of copies. */
  placesOf: number[][]
}

/**
 * Places for the experts of each layer: within nodes where groups can be dealt out to these whole, over all GPUs otherwise.
 *
 * @param loads `[L][E]`: what each expert has to do, as tokens counted or foreseen
 * @throws ConfigError where GPUs, nodes and groups do not divide what they hold
 */
export function rebalanceExperts(
  loads: readonly (readonly number[])[],
  options: EplbOptions,
): LayerPlacement[] {
  const { replicas, gpus, nodes = 1, groups = 1 } = options
  const scale =
    groups % nodes === 0 ? { replicas, gpus, nodes, groups } : { replicas, gpus, nodes: 1, groups: 1 }
  return loads.map(load => placeLayer(load, scale))
}

function placeLayer(load: readonly number[], options: Required<EplbOptions>): LayerPlacement {
  const { replicas, gpus, nodes, groups } = options
  requireDivisible('groups', load.length, groups)
  requireDivisible('nodes', groups, nodes)
  requireDivisible('nodes', gpus, nodes)
  requireDivisible('gpus', replicas, gpus)
  const expertAt: number[] = []
  const copyAt: number[] = []
  for (const experts of dealGroups(load, groups, nodes)) {
    const own = experts.map(expert => load[expert] as number)
    const { expert, copy, counts } = replicateExperts(own, replicas / nodes)
    const shares = expert.map(e => own[e]! / counts[e]!)
    for (const replica of inOrderOfPlaces(balancedPacking(shares, gpus / nodes))) {
      expertAt.push(experts[expert[replica]!]!)
      copyAt.push(copy[replica]!)
    }
  }
  return { expertAt, placesOf: placesOfExperts(expertAt, copyAt, load.length) }
}

/** The experts of each node, whole groups of about equal load. */
function dealGroups(load: readonly number[], groups: number, nodes: number): number[][] {
  const size = load.length / groups
  const groupLoads = Array.from({ length: groups }, (_, g) =>
    load.slice(g * size, (g + 1) * size).reduce((sum, tokens) => sum + tokens, 0),
  )
  const dealt = inOrderOfPlaces(balancedPacking(groupLoads, nodes))
  const experts = dealt.flatMap(group => Array.from({ length: size }, (_, i) => group * size + i))
  const perNode = load.length / nodes
  return Array.from({ length: nodes }, (_, node) => experts.slice(node * perNode, (node + 1) * perNode))
}

/** Items by pack, and within it by place. */
function inOrderOfPlaces({ pack, place }: Packing): number[] {
  return Array.from(pack.keys()).sort((a, b) => pack[a]! - pack[b]! || place[a]! - place[b]!)
}

function placesOfExperts(
  expertAt: readonly number[],
  copyAt: readonly number[],
  experts: number,
): number[][] {
  const places: number[][] = Array.from({ length: experts }, () => [])
  for (const [place, expert] of expertAt.entries()) places[expert]![copyAt[place]!] = place
  return places
}

function requireDivisible(path: string, items: number, parts: number): void {
  if (Number.isSafeInteger(parts) && parts >= 1 && items % parts === 0) return
  throw new ConfigError(`${items} cannot be dealt out evenly to ${parts}`, { path })
}

const zeros = (length: number): number[] => new Array<number>(length).fill(0)

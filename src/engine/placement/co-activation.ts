// Experts that tokens choose together onto the same device, so that a token's row goes to fewer devices, and there to fewer nodes.
// Shapes: E experts, T tokens, K choices per token, G devices, C = E / G experts of each.

import { ConfigError } from '../../errors.ts'

/** `[E][E]`: tokens that chose both; on the diagonal, tokens that chose the expert. */
export type CoActivation = readonly (readonly number[])[]

/** @param choices for each token its experts, each once */
export function countCoActivation(choices: Iterable<readonly number[]>, experts: number): number[][] {
  const counts = Array.from({ length: experts }, () => new Array<number>(experts).fill(0))
  for (const chosen of choices) for (const a of chosen) for (const b of chosen) counts[a]![b]! += 1
  return counts
}

export interface ClusterOptions {
  devices: number
  /** Default: 1. */
  nodes?: number
  /** Groups of experts that follow each other, of group-limited routing, which stay on one node. Default: 1. */
  groups?: number
  /** Load over the mean beyond which a device takes lighter experts first; no bound, as the last devices get what is left. Default: 1.1. */
  balance?: number
}

/**
 * The device of each expert, equally many on each. Greedy: the busiest expert that is left begins a device, which then takes, one at a time,
 * the expert that is most often chosen with those it has and does not make it heavier than `balance` allows; then pairs of
 * experts of a node change places while that makes more pairs meet and the heavier device no heavier than allowed. Maximises
 * `sum over devices, pairs i < j on it, of c_ij`, the weight within parts of equal size (graph partitioning; Kernighan and Lin, 1970).
 *
 * Groups go to nodes whole, as EPLB deals them out, by their co-activation in the same way; where they cannot, nodes are left out of account.
 *
 * @returns `[E]`
 * @throws ConfigError where devices and groups do not divide what they hold
 */
export function clusterExperts(counts: CoActivation, options: ClusterOptions): number[] {
  const { devices, groups = 1, balance = 1.1 } = options
  const nodes = groups % (options.nodes ?? 1) === 0 ? (options.nodes ?? 1) : 1
  requireDivisible('devices', counts.length, devices)
  requireDivisible('groups', counts.length, groups)
  requireDivisible('nodes', devices, nodes)
  const size = counts.length / groups
  const groupOf = (expert: number): number => Math.floor(expert / size)
  const node = cluster(sumGroups(counts, groups), nodes, balance)
  const device = new Array<number>(counts.length).fill(-1)
  for (let n = 0; n < nodes; n++) {
    const own = [...counts.keys()].filter(expert => node[groupOf(expert)] === n)
    const within = own.map(a => own.map(b => counts[a]![b]!))
    const parts = cluster(within, devices / nodes, balance)
    for (const [i, expert] of own.entries()) device[expert] = (n * devices) / nodes + parts[i]!
  }
  return device
}

function sumGroups(counts: CoActivation, groups: number): number[][] {
  const size = counts.length / groups
  const sums = Array.from({ length: groups }, () => new Array<number>(groups).fill(0))
  for (const [a, row] of counts.entries())
    for (const [b, count] of row.entries()) {
      const [from, to] = [Math.floor(a / size), Math.floor(b / size)]
      if (from !== to || a === b) sums[from]![to]! += count // within a group nothing is won, but its load counts
    }
  return sums
}

/** Items into parts of equally many. */
function cluster(counts: CoActivation, parts: number, balance: number): number[] {
  if (parts === 1) return counts.map(() => 0)
  const loads = counts.map((row, i) => row[i]!)
  const most = (balance * sum(loads)) / parts
  const part = grow(counts, loads, { parts, most })
  improve(counts, loads, part, { parts, most })
  return part
}

interface Bounds {
  parts: number
  /** What a part may weigh. */
  most: number
}

function grow(counts: CoActivation, loads: readonly number[], { parts, most }: Bounds): number[] {
  const size = counts.length / parts
  const part = counts.map(() => -1)
  const left = new Set([...counts.keys()].sort((a, b) => loads[b]! - loads[a]! || a - b))
  for (let p = 0; p < parts; p++) {
    const [first] = left as unknown as Iterable<number>
    const members: number[] = []
    let [next, load] = [first as number, 0]
    for (;;) {
      members.push(next)
      left.delete(next)
      part[next] = p
      load += loads[next]!
      if (members.length === size) break
      next = nearest(left, members, { counts, loads, room: most - load })
    }
  }
  return part
}

/** Of those that have room the one chosen most often with the members; the lightest where none has. */
function nearest(
  left: ReadonlySet<number>,
  members: readonly number[],
  { counts, loads, room }: { counts: CoActivation; loads: readonly number[]; room: number },
): number {
  const ties = (item: number): number => sum(members.map(member => counts[item]![member]!))
  const fitting = [...left].filter(item => loads[item]! <= room)
  if (fitting.length === 0) return [...left].reduce((a, b) => (loads[b]! < loads[a]! ? b : a))
  return fitting.reduce((a, b) => (ties(b) > ties(a) ? b : a))
}

/** Changes pairs of items over while something is won. */
function improve(
  counts: CoActivation,
  loads: readonly number[],
  part: number[],
  { parts, most }: Bounds,
): void {
  const weight = new Array<number>(parts).fill(0)
  const ties = counts.map(() => new Array<number>(parts).fill(0)) // [E][G]: with the items of each part
  for (const [a, row] of counts.entries()) {
    weight[part[a]!]! += loads[a]!
    for (const [b, count] of row.entries()) if (a !== b) ties[a]![part[b]!]! += count
  }
  const gain = (a: number, b: number): number => {
    const [p, q] = [part[a]!, part[b]!]
    return ties[a]![q]! - ties[a]![p]! + ties[b]![p]! - ties[b]![q]! - 2 * counts[a]![b]!
  }
  const allows = (a: number, b: number): boolean => {
    const [p, q] = [part[a]!, part[b]!]
    const moved = loads[b]! - loads[a]!
    const before = Math.max(weight[p]!, weight[q]!)
    return Math.max(weight[p]! + moved, weight[q]! - moved) <= Math.max(most, before)
  }
  const change = (a: number, b: number): void => {
    const [p, q] = [part[a]!, part[b]!]
    for (const [i, row] of ties.entries()) {
      const moved = (i === b ? 0 : counts[i]![b]!) - (i === a ? 0 : counts[i]![a]!)
      row[p]! += moved
      row[q]! -= moved
    }
    weight[p]! += loads[b]! - loads[a]!
    weight[q]! += loads[a]! - loads[b]!
    part[a] = q
    part[b] = p
  }
  for (let changed = true; changed; ) {
    changed = false
    for (let a = 0; a < part.length; a++)
      for (let b = a + 1; b < part.length; b++) {
        if (part[a] === part[b] || gain(a, b) <= 0 || !allows(a, b)) continue
        change(a, b)
        changed = true
      }
  }
}

/** Pairs of choices that meet on a device: what clusterExperts() makes large. */
export function pairsTogether(counts: CoActivation, device: readonly number[]): number {
  let pairs = 0
  for (const [a, row] of counts.entries())
    for (let b = a + 1; b < row.length; b++) if (device[a] === device[b]) pairs += row[b]!
  return pairs
}

function requireDivisible(path: string, items: number, parts: number): void {
  if (Number.isSafeInteger(parts) && parts >= 1 && items % parts === 0) return
  throw new ConfigError(`${items} cannot be dealt out evenly to ${parts}`, { path })
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

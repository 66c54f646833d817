// What a placement of experts costs tokens that are routed: rows that are sent to other devices and nodes, and how uneven the load is.
// Shapes: E experts, R places, G devices, T tokens.

export interface Spot {
  /** `[E]` lists of devices that hold a copy. */
  devicesOf: number[][]
  devices: number
  perNode: number
}

export interface PlacementCost {
  /** Rows that a token sends to other devices: one for each of these that has some of its experts. */
  rows: number
  /** Of them, those to other nodes, once for each node. */
  nodes: number
  /** The heaviest device's tokens over the mean. */
  load: number
}

/** Tokens are anywhere, and go to the copy t mod copies, so that copies share alike. */
export function placementCost(
  choices: readonly (readonly number[])[],
  { devicesOf, devices, perNode }: Spot,
): PlacementCost {
  const loads = new Array<number>(devices).fill(0)
  let [rows, nodes] = [0, 0]
  for (const [t, chosen] of choices.entries()) {
    const home = (Math.imul(t, 2_654_435_761) >>> 8) % devices // not in step with copies
    const targets = chosen.map(expert => {
      const copies = devicesOf[expert] as number[]
      return copies[t % copies.length] as number
    })
    for (const device of targets) loads[device]! += 1
    rows += new Set(targets.filter(device => device !== home)).size
    const nodeOf = (device: number): number => Math.floor(device / perNode)
    nodes += new Set(targets.map(nodeOf).filter(node => node !== nodeOf(home))).size
  }
  const mean = loads.reduce((a, b) => a + b, 0) / devices
  return { rows: rows / choices.length, nodes: nodes / choices.length, load: Math.max(...loads) / mean }
}

/** The same numbers in every run (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export interface DrawnRouting {
  experts: number
  chosen: number
  groups: number
  keptGroups: number
  tokens: number
}

/**
 * Group-limited routing as that of DeepSeek-V3, of texts of 64 tokens on one of 16 subjects: an expert's score is its own popularity, what its
 * subject adds, and what the token adds. Drawn, not recorded.
 */
export function drawRouting(
  { experts, chosen, groups, keptGroups, tokens }: DrawnRouting,
  seed: number,
): number[][] {
  const random = randomOf(seed)
  const gauss = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const popularity = Array.from({ length: experts }, () => 0.4 * gauss())
  const subjects = Array.from({ length: 16 }, () => Array.from({ length: experts }, () => 1.2 * gauss()))
  const size = experts / groups
  let subject = 0
  return Array.from({ length: tokens }, (_, t) => {
    if (t % 64 === 0) subject = Math.floor(random() * subjects.length)
    const scores = popularity.map((own, e) => own + subjects[subject]![e]! + gauss())
    const best = (items: number[], score: (item: number) => number, count: number): number[] =>
      items.toSorted((a, b) => score(b) - score(a)).slice(0, count)
    const members = (g: number): number[] => Array.from({ length: size }, (_, i) => g * size + i)
    const groupScore = (g: number): number =>
      best(members(g), e => scores[e]!, 2).reduce((sum, e) => sum + scores[e]!, 0)
    const kept = best([...Array(groups).keys()], groupScore, keptGroups)
    return best(kept.flatMap(members), e => scores[e]!, chosen)
  })
}

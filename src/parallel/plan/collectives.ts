// What a collective costs a rank: messages and bytes that it sends, by formulas of the algorithms that NCCL and Gloo use for large
// messages (Thakur et al., Optimization of Collective Communication Operations in MPICH, 2005), and the time of these,
// `messages alpha + bytes beta` (Hockney's model).
// Shapes: n ranks, g of them on a node, B bytes that a rank has before (all-reduce, reduce-scatter, all-to-all, send) or after (all-gather).

import type { Hardware } from './hardware.ts'

export type Collective = 'all-reduce' | 'all-gather' | 'reduce-scatter' | 'all-to-all' | 'send'

/** Ranks that take part, and how many of them share a node. */
export interface Group {
  ranks: number
  perNode: number
}

/** What a rank sends within its node and to others. */
export interface Traffic {
  intra: { messages: number; bytes: number }
  inter: { messages: number; bytes: number }
}

/**
 * Rings of all-reduce `2 (n-1)/n B`, all-gather and reduce-scatter `(n-1)/n B` are as fast as their slowest link, that between nodes where
 * there is one. Of an all-to-all, `(n-1)/n B`, each rank has an equal part, so `(g-1)/n B` stay within the node.
 */
export function trafficOf(collective: Collective, bytes: number, { ranks, perNode }: Group): Traffic {
  const none = { messages: 0, bytes: 0 }
  if (ranks === 1) return { intra: none, inter: none }
  const crosses = ranks > perNode
  if (collective === 'all-to-all') {
    const within = Math.min(ranks, perNode) - 1
    const beyond = ranks - 1 - within
    return {
      intra: { messages: within, bytes: (within / ranks) * bytes },
      inter: { messages: beyond, bytes: (beyond / ranks) * bytes },
    }
  }
  const sent = { messages: rounds[collective] * (ranks - 1), bytes: bytes * ringShare(collective, ranks) }
  if (collective === 'send') Object.assign(sent, { messages: 1, bytes })
  return crosses ? { intra: none, inter: sent } : { intra: sent, inter: none }
}

const rounds: Record<Collective, number> = {
  'all-reduce': 2,
  'all-gather': 1,
  'reduce-scatter': 1,
  'all-to-all': 1,
  send: 1,
}

const ringShare = (collective: Collective, ranks: number): number =>
  (rounds[collective] * (ranks - 1)) / ranks

/** Seconds. */
export function trafficSeconds({ intra, inter }: Traffic, links: Pick<Hardware, 'intra' | 'inter'>): number {
  return (
    intra.messages * links.intra.alpha +
    intra.bytes * links.intra.beta +
    inter.messages * links.inter.alpha +
    inter.bytes * links.inter.beta
  )
}

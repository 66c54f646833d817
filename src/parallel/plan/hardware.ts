// What a cluster can do, as its makers state it, and what share of that a training step has been seen to reach.

import { ConfigError } from '../../errors.ts'

/** A way between two ranks: a message of n bytes takes `alpha + n beta` seconds. */
export interface Link {
  /** Seconds before the first byte arrives. */
  alpha: number
  /** Seconds for each byte that a rank sends. */
  beta: number
}

/** One rank's processor and its ways to others. */
export interface Hardware {
  /** FLOP/s of products in f32 and in bf16, as stated. */
  flops: { f32: number; bf16: number }
  /** Of them, what products of a training step reach. */
  share: number
  /** Bytes of memory of a rank. */
  memory: number
  /** Ranks on one node. */
  perNode: number
  /** Within a node. */
  intra: Link
  /** Between nodes. */
  inter: Link
  /** Where the figures are from. */
  source: string
}

const gib = 2 ** 30

/** @param rate GB/s that a rank sends */
const link = (microseconds: number, rate: number): Link => ({
  alpha: microseconds * 1e-6,
  beta: 1 / (rate * 1e9),
})

/**
 * Known hardware. Rates of links are one direction's; alphas are of the order that NCCL's and Gloo's smallest messages take. The share of
 * H100 is that of Megatron-Core's 468 TFLOP/s per GPU on Mixtral 8x7B (benchmarks/scale-plan.ts), rounded up for what it
 * loses beside products; of the others the same is assumed.
 */
export const hardware = {
  loopback: {
    flops: { f32: 80e9, bf16: 80e9 },
    share: 0.75,
    memory: 8 * gib,
    perNode: 1024,
    intra: link(50, 1),
    inter: link(50, 1),
    source: 'one processor core with AVX2 for each rank, Gloo over loopback; orders of magnitude',
  },
  a100: {
    flops: { f32: 19.5e12, bf16: 312e12 },
    share: 0.52,
    memory: 80 * gib,
    perNode: 8,
    intra: link(10, 300),
    inter: link(20, 25),
    source: 'NVIDIA A100 80 GB SXM data sheet: NVLink 600 GB/s both ways; 200 Gb/s InfiniBand for each GPU',
  },
  h100: {
    flops: { f32: 67e12, bf16: 989.4e12 },
    share: 0.52,
    memory: 80 * gib,
    perNode: 8,
    intra: link(10, 450),
    inter: link(20, 50),
    source: 'NVIDIA H100 SXM data sheet: NVLink 900 GB/s both ways; 400 Gb/s InfiniBand for each GPU',
  },
  h800: {
    flops: { f32: 67e12, bf16: 989.4e12 },
    share: 0.52,
    memory: 80 * gib,
    perNode: 8,
    intra: link(10, 160),
    inter: link(20, 50),
    source: 'arXiv:2412.19437, section 3.2.2: NVLink 160 GB/s, InfiniBand 50 GB/s; products as H100',
  },
} as const satisfies Record<string, Hardware>

export type HardwareName = keyof typeof hardware

/** Nodes of equal hardware. */
export interface Cluster {
  name: string
  hardware: Hardware
  /** Ranks in all. */
  ranks: number
}

/**
 * A cluster as people write it: `h100:8x16` is 16 nodes of 8 ranks.
 *
 * @throws ConfigError for hardware that is not known, or counts that are none
 */
export function parseCluster(text: string): Cluster {
  const [, name = '', perNode = '', nodes = ''] =
    /^([a-z0-9]+):([1-9]\d{0,3})x([1-9]\d{0,5})$/.exec(text) ?? []
  if (!Object.hasOwn(hardware, name)) {
    const known = Object.keys(hardware).join(', ')
    throw new ConfigError(`'${text}' is no HARDWARE:PER_NODExNODES: as h100:8x16, of ${known}`, {
      path: 'cluster',
    })
  }
  const known: Hardware = hardware[name as HardwareName]
  return {
    name: text,
    hardware: { ...known, perNode: Number(perNode) },
    ranks: Number(perNode) * Number(nodes),
  }
}

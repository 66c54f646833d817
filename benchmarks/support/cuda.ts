// What the CUDA benchmarks share: models, limits of the card, and a tiny version of everything for a CPU, which shows that the
// benchmark itself works (BENCH_DEVICE=cpu).
// Counting: 6 floating-point operations per active parameter and token in training, attention's products on top.

import { spawnSync } from 'node:child_process'
import { Contestant } from './contestant.ts'

export const device = process.env.BENCH_DEVICE ?? 'cuda'
export const isTiny = device === 'cpu'

export type Kind = 'mixtral' | 'olmoe'

/** Fields of a config.json, for both sides. */
export interface Fields {
  vocab_size: number
  hidden_size: number
  intermediate_size: number
  num_hidden_layers: number
  num_attention_heads: number
  num_key_value_heads: number
  num_experts_per_tok: number
  num_local_experts?: number
  num_experts?: number
}

export interface Model {
  name: string
  kind: Kind
  fields: Fields
}

const tiny = {
  vocab_size: 64,
  hidden_size: 64,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
}

/** 707M parameters, 222M of them active per token, the embedding aside. */
export const mixtral707m: Model = {
  name: 'Mixtral-707M',
  kind: 'mixtral',
  fields: isTiny
    ? { ...tiny, num_local_experts: 4, num_experts_per_tok: 2 }
    : {
        vocab_size: 32_000,
        hidden_size: 1024,
        intermediate_size: 2048,
        num_hidden_layers: 12,
        num_attention_heads: 16,
        num_key_value_heads: 8,
        num_local_experts: 8,
        num_experts_per_tok: 2,
      },
}

/** OLMoE-1B-7B's shape: 6.9B parameters, 1.3B active. */
export const olmoe: Model = {
  name: 'OLMoE-1B-7B',
  kind: 'olmoe',
  fields: isTiny
    ? { ...tiny, num_key_value_heads: 4, num_experts: 8, num_experts_per_tok: 4 }
    : {
        vocab_size: 50_304,
        hidden_size: 2048,
        intermediate_size: 1024,
        num_hidden_layers: 16,
        num_attention_heads: 16,
        num_key_value_heads: 16,
        num_experts: 64,
        num_experts_per_tok: 8,
      },
}

/** The layer of Mixtral 8x7B. */
export const mixtral8x7b: Model = {
  name: 'Mixtral 8x7B',
  kind: 'mixtral',
  fields: isTiny
    ? mixtral707m.fields
    : { ...mixtral707m.fields, hidden_size: 4096, intermediate_size: 14_336, num_attention_heads: 32 },
}

const expertsOf = ({ num_local_experts, num_experts }: Fields): number =>
  num_local_experts ?? num_experts ?? 1

/** Weights that a token passes in one layer's experts and router. */
export function activeInLayer(fields: Fields): number {
  const { hidden_size: d, intermediate_size: f, num_experts_per_tok: k } = fields
  return k * 3 * d * f + d * expertsOf(fields)
}

/** Weights of attention in one layer. */
function attentionWeights({
  hidden_size: d,
  num_attention_heads: h,
  num_key_value_heads: g,
}: Fields): number {
  return 2 * d * d + 2 * d * d * (g / h)
}

/** Weights that a token passes, the head included and the embedding not. */
export function activeWeights(fields: Fields): number {
  const perLayer = activeInLayer(fields) + attentionWeights(fields)
  return fields.num_hidden_layers * perLayer + fields.vocab_size * fields.hidden_size
}

/** Floating-point operations of a training step per token; causal attention sees half of the text on average. */
export function trainingFlops(fields: Fields, length: number): number {
  return 6 * activeWeights(fields) + 6 * fields.num_hidden_layers * fields.hidden_size * length
}

/** The Python of the peers: the first that imports torch and transformers; undefined when there is none. */
export function pythonWithTransformers(): string | undefined {
  return [process.env.PYTHON, 'python3'].find(
    python =>
      python && spawnSync(python, ['-c', 'import torch, transformers'], { timeout: 120_000 }).status === 0,
  )
}

/** What the card does at best, in the same run: bf16 products in FLOP/s, copies in bytes/s (read and written). */
export async function measureLimits(): Promise<{ flops: number; bytes: number }> {
  const contestant = await Contestant.ours('limits', 'cuda-limits.ts').ready()
  await contestant.round(isTiny ? 1 : 20, { warmup: true })
  const { flops = 0, bytes = 0 } = await contestant.round(isTiny ? 1 : 50)
  contestant.close()
  return { flops, bytes }
}

export const tera = (value: number): string => (value / 1e12).toFixed(isTiny ? 4 : 1)
export const percent = (share: number): string => `${(100 * share).toFixed(0)}%`
export const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(1)

/** Rounds by turns; who fails (out of memory, say) is left out with its last words on stderr. */
export async function compete(
  contestants: readonly Contestant[],
  { rounds, count, warmup }: { rounds: number; count: number; warmup: number },
): Promise<Contestant[]> {
  const alive: Contestant[] = []
  for (const contestant of contestants) {
    const isUp = await attempt(
      async () => void (await (await contestant.ready()).round(warmup, { warmup: true })),
    )
    if (isUp) alive.push(contestant)
  }
  for (let i = 0; i < rounds; i++) {
    for (const contestant of [...alive]) {
      const isUp = await attempt(async () => void (await contestant.round(count)))
      if (!isUp) alive.splice(alive.indexOf(contestant), 1)
    }
  }
  for (const contestant of contestants) contestant.close()
  return alive
}

async function attempt(body: () => Promise<void>): Promise<boolean> {
  try {
    await body()
    return true
  } catch (error) {
    console.error(`left out: ${(error as Error).message}`)
    return false
  }
}

// How well a model predicts held-out text, overall and per domain, and where its tokens go.
// Shapes: B windows, T positions, E experts.

import { invariant } from '../errors.ts'
import {
  EncoderDecoderLM,
  type ForwardOutput,
  type LayerRouting,
  type TrainableModel,
  tokenLosses,
} from '../models/index.ts'
import { expertUsage, loadByDomain, type UsageStats, usageStats } from '../moe/index.ts'
import { inferenceMode, type Tensor, tensor, tidy } from '../torch/index.ts'
import { evaluationBatch, type ModelText } from './examples.ts'
import type { Batch } from './objective.ts'

export interface DomainScore {
  name: string
  /** Target tokens that were scored. */
  tokens: number
  /** Mean cross-entropy per token, in nats. */
  loss: number
  perplexity: number
  /** Bits per UTF-8 byte of text: comparable between tokenizers. */
  bitsPerByte: number
}

export interface Evaluation extends Omit<DomainScore, 'name'> {
  domains: DomainScore[]
  /** Numbers of the layers that have a router. */
  moeLayers: number[]
  /** What [layer][domain][expert] served; see loadByDomain(). */
  expertLoad: number[][][]
  /** Of each PEER layer. */
  retrieval: (UsageStats & { layer: number })[]
}

export interface EvaluateOptions {
  /** Names of the corpus's domains. */
  domains: readonly string[]
  batchSize: number
  /** Batches, spread evenly over the split; null: all of it. */
  batches: number | null
  /** How a batch is read. Default: as model.forward() reads it. */
  forward?: ForwardBatch
  /** Called after each batch with the share that is done. */
  onProgress?: (fraction: number) => void
}

/** What a model computes of a batch. */
export type ForwardBatch = (batch: Pick<Batch, 'inputs' | 'source'>) => ForwardOutput

function forwardBy(model: TrainableModel): ForwardBatch {
  return ({ inputs, source }) => {
    if (!(model instanceof EncoderDecoderLM)) return model.forward(inputs)
    invariant(source, 'an encoder-decoder reads batches with sources')
    return model.forward(source, inputs)
  }
}

/** Evaluates between turns of the event loop. The training mode of every module is left as it was. */
export async function evaluate(
  model: TrainableModel,
  windows: ModelText,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { domains, batchSize, batches, forward = forwardBy(model) } = options
  const reader = { model, windows, forward }
  const chosen = evenlySpaced(windows.count, batches === null ? windows.count : batches * batchSize)
  const tally = new Tally(domains.length)
  const modes = [...model.namedModules()].map(([, module]) => ({ module, training: module.training }))
  model.eval()
  try {
    for (let start = 0; start < chosen.length; start += batchSize) {
      scoreBatch(reader, chosen.slice(start, start + batchSize), tally)
      options.onProgress?.(Math.min(1, (start + batchSize) / chosen.length))
      await new Promise(setImmediate)
    }
  } finally {
    for (const { module, training } of modes) module.training = training
  }
  return summarize(tally, windows, domains)
}

/** `wanted` of `0..count-1`, or all if there are fewer. */
export function evenlySpaced(count: number, wanted: number): number[] {
  const length = Math.min(count, wanted)
  return Array.from({ length }, (_, i) => Math.floor((i * count) / length))
}

/** Sums per domain, and of each PEER layer per expert. */
class Tally {
  readonly losses: number[]
  readonly tokens: number[]
  readonly loads = new Map<number, number[][]>()
  readonly usages = new Map<number, Record<'counts' | 'mass', number[]>>()

  constructor(domains: number) {
    this.losses = new Array(domains).fill(0)
    this.tokens = new Array(domains).fill(0)
  }
}

interface Reader {
  model: TrainableModel
  windows: ModelText
  forward: ForwardBatch
}

function scoreBatch({ model, windows, forward }: Reader, rows: readonly number[], tally: Tally): void {
  const numDomains = tally.losses.length
  inferenceMode(() =>
    tidy(() => {
      const batch = evaluationBatch(model, windows, rows)
      const { targets } = batch
      const domains = tensor(batch.domains).to(model.device) // [N]
      const sources = batch.sourceDomains ? tensor(batch.sourceDomains).to(model.device) : domains
      const firstOfTargets = model instanceof EncoderDecoderLM ? model.encoder.layers.length : 0
      const { logits, routings } = forward(batch)
      const losses = tokenLosses(logits, targets)
      addTo(tally.losses, domains.bincount(losses.double(), numDomains))
      addTo(tally.tokens, domains.bincount(targets.ge(0).double(), numDomains))
      for (const routing of routings)
        addRouting(tally, routing, routing.layer < firstOfTargets ? sources : domains)
    }),
  )
}

function addTo(sums: number[], values: Tensor): void {
  for (const [i, value] of Array.from<number | bigint, number>(values.toTypedArray(), Number).entries()) {
    sums[i] = (sums[i] ?? 0) + value
  }
}

function addRouting(tally: Tally, { layer, served }: LayerRouting, domains: Tensor): void {
  if (served.kind === 'peer') {
    const { counts, mass } = expertUsage(served)
    const sums = entryOf(tally.usages, layer, () => ({ counts: [], mass: [] }))
    addTo(sums.counts, counts)
    addTo(sums.mass, mass)
    return
  }
  const numDomains = tally.losses.length
  const sums = entryOf(tally.loads, layer, () => Array.from({ length: numDomains }, () => []))
  const rows = loadByDomain(served, domains, numDomains).unbind() // [E] each
  for (const [d, row] of rows.entries()) addTo(sums[d] as number[], row)
}

function entryOf<V>(map: Map<number, V>, key: number, make: () => V): V {
  const value = map.get(key) ?? make()
  map.set(key, value)
  return value
}

function summarize(tally: Tally, windows: ModelText, domains: readonly string[]): Evaluation {
  const bytesPerToken = windows.split.counts.map(({ bytes, tokens }) => (tokens === 0 ? 0 : bytes / tokens))
  const score = (losses: number, tokens: number, bytes: number): Omit<DomainScore, 'name'> => {
    const loss = losses / tokens
    return { tokens, loss, perplexity: Math.exp(loss), bitsPerByte: losses / Math.LN2 / bytes }
  }
  const bytesOf = (d: number): number => (tally.tokens[d] ?? 0) * (bytesPerToken[d] ?? 0)
  const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
  return {
    ...score(total(tally.losses), total(tally.tokens), total(domains.map((_, d) => bytesOf(d)))),
    domains: domains.flatMap((name, d) => {
      const tokens = tally.tokens[d] ?? 0
      return tokens === 0 ? [] : [{ name, ...score(tally.losses[d] ?? 0, tokens, bytesOf(d)) }]
    }),
    moeLayers: [...tally.loads.keys()],
    expertLoad: [...tally.loads.values()],
    retrieval: [...tally.usages].map(([layer, { counts, mass }]) =>
      tidy(() => ({
        layer,
        ...usageStats({ counts: tensor(counts), mass: tensor(mass, { dtype: 'f64' }) }),
      })),
    ),
  }
}

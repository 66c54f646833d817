// Decoders: prompts, and then a token of each text at a time.

import { ContiguousCache } from '../../nn/index.ts'
import { inferenceMode, kernelFor, tidy } from '../../torch/index.ts'
import type { CausalLM } from '../stack/language-model.ts'
import { type Tokens, tokensOfSequences } from '../stack/tokens.ts'
import { DecodingStep } from './decoding-step.ts'
import { type BeamSession, lastScores, type Rows, type SessionOptions } from './session.ts'

const longestOf = (rows: Rows): number => rows.reduce((most, { length }) => Math.max(most, length), 0)

/** Most tokens that are read at once, of all texts: memory for what is computed of them does not grow with prompts. */
export const prefillChunk = 1024

/** Prompts of unequal length stand one after the other: nothing is padded. */
export function decoderSession(
  model: CausalLM,
  {
    prompts,
    texts = prompts.length,
    newTokens,
    task,
    kv,
    chunk = chunkFor(model, prompts.length),
  }: SessionOptions,
): BeamSession & { cache: ContiguousCache } {
  const capacity = longestOf(prompts) + newTokens
  const cache = new ContiguousCache(model, { sequences: texts, capacity, kv })
  const step = new DecodingStep(model, cache, { task })
  const read = (fresh: Rows): Float32Array[] => {
    const { before, last } = inChunks(fresh, chunk)
    // Rules for long texts go by where the prompts end, not by where a chunk does.
    const extent = Math.max(...fresh.map(({ length }, b) => (cache.lengths[b] ?? 0) + length))
    const others = new Array<number[]>(texts - fresh.length).fill([])
    const tokensOf = (rows: Rows): Tokens => ({
      ...tokensOfSequences([...rows, ...others], { past: cache.lengths, device: model.device, task }),
      extent,
    })
    for (const rows of before)
      inferenceMode(() => tidy(() => void model.model.forward(tokensOf(rows), cache)))
    return lastScores(() => {
      const tokens = tokensOf(last)
      const ends = tokens.starts.slice(1, fresh.length + 1)
      return model.forward(tokens, { cache, logitsAt: ends.map(end => end - 1) }).logits
    })
  }
  const next = (fresh: Rows): Float32Array[] => {
    const lengths = [...cache.lengths]
    const isStep = fresh.every(({ length }) => length === 1) && lengths.every(length => length > 0)
    try {
      return isStep ? lastScores(() => step.run(fresh.flat()).logits) : read(fresh)
    } catch (error) {
      cache.lengths.splice(0, lengths.length, ...lengths) // as if nothing of it had been read
      throw error
    }
  }
  const dispose = (): void => {
    step[Symbol.dispose]()
    cache.dispose()
  }
  return { first: prompts, next, reorder: from => cache.reorder(from), cache, [Symbol.dispose]: dispose }
}

/** Without the kernel for attention over a cache, that of what came before would be written out. */
function chunkFor(model: CausalLM, texts: number): number {
  const hasKernel = kernelFor('attentionCached', model.model.norm.weight) !== null
  return hasKernel ? Math.max(1, Math.floor(prefillChunk / texts)) : Number.POSITIVE_INFINITY
}

/** Rows in parts of at most `chunk` tokens of each; the last one has the end of every row. */
function inChunks(rows: Rows, chunk: number): { before: Rows[]; last: Rows } {
  const parts = Math.max(1, Math.ceil(longestOf(rows) / chunk))
  const ends = rows.map(({ length }) => Math.min(length - 1, (parts - 1) * chunk))
  const before = Array.from({ length: parts - 1 }, (_, i) =>
    rows.map((row, b) => row.slice(i * chunk, Math.min((i + 1) * chunk, ends[b] as number))),
  )
  return { before, last: rows.map((row, b) => row.slice(ends[b])) }
}

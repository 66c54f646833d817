// Beam search against all texts that there are, and against scores of whole texts.
import { describe, expect, test, vi } from 'vitest'
import { decoders, encoderDecoders, fixture } from '../../../tests/support/fixtures.ts'
import { manualSeed, noGrad, randn, tidy } from '../../torch/index.ts'
import { type BeamText, EncoderDecoderLM, openModel, tokensOfSequences } from '../index.ts'
import { beamSearch, searchBeams } from './beam-search.ts'
import type { BeamSession } from './session.ts'

const vocabulary = 4
const stop = 0
const longest = 4

/** Scores that a text alone decides, random but lively. */
function scoresOf(text: readonly number[], seed: number): Float32Array {
  const number = text.reduce((sum, id) => sum * vocabulary + id + 1, 1)
  return Float32Array.from(
    randn([vocabulary], { seed: seed * 1000 + number }).tolist() as number[],
    x => 1.5 * x,
  )
}

const logProbs = (logits: Float32Array): number[] => {
  const sum = Math.log(logits.reduce((total, logit) => total + Math.exp(logit), 0))
  return [...logits].map(logit => logit - sum)
}

/** A session of texts that are their own cache. */
function textSession(beams: number, seed: number): BeamSession {
  let texts: number[][] = Array.from({ length: beams }, () => [])
  return {
    first: texts.map(() => [stop]),
    next: fresh => {
      texts = texts.map((text, b) => [...text, ...(fresh[b] ?? [])])
      return texts.map(text => scoresOf(text, seed))
    },
    reorder: from => {
      texts = from.map(row => [...(texts[row] ?? [])])
    },
    [Symbol.dispose]: () => {},
  }
}

/** Every text that ends, or is as long as may be, the best first. */
function exhaustive(lengthPenalty: number, seed: number): BeamText[] {
  const all: BeamText[] = []
  const grow = (ids: number[], logProb: number): void => {
    if (ids.length === longest) {
      all.push({ ids, logProb, score: logProb / longest ** lengthPenalty, reason: 'max-new-tokens' })
      return
    }
    for (const [id, value] of logProbs(scoresOf([stop, ...ids], seed)).entries()) {
      const sum = logProb + value
      if (id !== stop) grow([...ids, id], sum)
      else
        all.push({ ids, logProb: sum, score: sum / (ids.length + 1) ** lengthPenalty, reason: 'end-of-text' })
    }
  }
  grow([], 0)
  return all.sort((a, b) => b.score - a.score)
}

describe.each([0, 1, -0.7, 2.5])('length penalty %d', lengthPenalty => {
  test.each([1, 2, 3])('as many beams as there are texts find the best of all, in order (%i)', async seed => {
    const beams = 3 ** longest + 3 ** (longest - 1) * 3
    const settings = { beams, lengthPenalty, nBest: 10, maxNewTokens: longest, stopIds: [stop] }
    const found = await searchBeams(textSession(beams, seed), settings)
    const best = exhaustive(lengthPenalty, seed).slice(0, 10)
    expect(found.map(({ ids }) => ids)).toEqual(best.map(({ ids }) => ids))
    expect(found.map(({ reason }) => reason)).toEqual(best.map(({ reason }) => reason))
    // Sums of four f32 logits and their logarithms.
    for (const [i, { score }] of found.entries()) expect(score).toBeCloseTo(best[i]?.score ?? Number.NaN, 5)
  })
})

test('one beam is greedy', async () => {
  const [found] = await searchBeams(textSession(1, 4), {
    ...{ beams: 1, lengthPenalty: 0, nBest: 1, maxNewTokens: longest, stopIds: [] },
  })
  const greedy = [stop]
  while (greedy.length <= longest) {
    const all = [...scoresOf(greedy, 4)]
    greedy.push(all.indexOf(Math.max(...all)))
  }
  expect(found?.ids).toEqual(greedy.slice(1))
})

test.each([...decoders, ...encoderDecoders])(
  '%s: the score of a text is what the whole text has, whichever rows it was in',
  async name => {
    const model = openModel(fixture(name)).load({ kind: 'text' })
    manualSeed(2)
    // Larger weights than at the start of training, so that texts differ.
    noGrad(() => {
      for (const parameter of model.parameters()) if (parameter.ndim > 1) parameter.mul_(3)
    })
    const prompt = [5, 17, 33, 40, 8]
    const found = await beamSearch(model, prompt, {
      beams: 4,
      nBest: 4,
      maxNewTokens: 6,
      lengthPenalty: 0.5,
      stopIds: [],
    })
    expect(new Set(found.map(({ ids }) => ids.join())).size).toBe(4)
    for (const { ids, logProb, score } of found) {
      const whole = tidy(() => {
        const start = model instanceof EncoderDecoderLM ? [model.config.decoder_start_token_id] : prompt
        const tokens = tokensOfSequences([[...start, ...ids.slice(0, -1)]])
        const { logits } =
          model instanceof EncoderDecoderLM
            ? model.forward(tokensOfSequences([prompt]), tokens)
            : model.forward(tokens)
        const rows = logits.double().logSoftmax(-1)
        return ids.reduce(
          (sum, id, i) =>
            sum +
            rows
              .select(0, start.length - 1 + i)
              .select(0, id)
              .item(),
          0,
        )
      })
      expect(logProb).toBeCloseTo(whole, 3) // six f32 log-probabilities, of logits of order 10
      expect(score).toBeCloseTo(logProb / 6 ** 0.5, 10)
    }
    model.dispose()
  },
)

test.each(['mixtral', 'nllb_moe'])('%s: the prompt is read once', async name => {
  const model = openModel(fixture(name)).load({ kind: 'text' })
  const read = model instanceof EncoderDecoderLM ? vi.spyOn(model, 'encode') : vi.spyOn(model, 'forward')
  await beamSearch(model, [5, 17, 33], { beams: 4, maxNewTokens: 1 })
  expect(read.mock.calls.map(([tokens]) => tokens.starts.at(-1))).toEqual([3])
  model.dispose()
})

test('an aborted search says so of what it left, and keeps what had ended', async () => {
  const stopped = AbortSignal.abort()
  const settings = { beams: 4, lengthPenalty: 0, nBest: 4, maxNewTokens: longest, stopIds: [stop] }
  const found = await searchBeams(textSession(4, 1), { ...settings, signal: stopped })
  const reasons = Object.fromEntries(found.map(({ ids, reason }) => [ids.join(), reason]))
  expect(reasons).toEqual({ '': 'end-of-text', 1: 'aborted', 2: 'aborted', 3: 'aborted' })
})

test('a text ends where the model has no more positions', async () => {
  const model = openModel(fixture('mixtral')).load({ kind: 'text' })
  const { max_position_embeddings: positions } = model.config as { max_position_embeddings: number }
  const prompt = Array.from({ length: positions - 2 }, () => 5)
  const [found] = await beamSearch(model, prompt, { beams: 2, stopIds: [] })
  expect(found).toMatchObject({ reason: 'positions' })
  expect(found?.ids).toHaveLength(2)
  model.dispose()
})

test.each([
  [{ beams: 0 }, 'beams: must be a whole number above 0, got 0'],
  [{ beams: 2, nBest: 3 }, 'nBest: must be in 1..2, the beams, got 3'],
  [{ lengthPenalty: Number.NaN }, 'lengthPenalty: must be a number, got NaN'],
])('%j is refused', async (options, message) => {
  const model = openModel(fixture('nllb_moe')).load({ kind: 'text' })
  await expect(beamSearch(model, [5], options)).rejects.toThrow(message)
  model.dispose()
})

// What texts report beside their tokens.
import { describe, expect, test } from 'vitest'
import {
  alone,
  gguf,
  ids,
  type Written,
  wanted,
  withEngine,
  withoutEnd,
  write,
} from '../../../tests/support/engine-texts.ts'
import { openModel, tokensOfSequences } from '../../models/index.ts'
import { computeSteadily } from '../../moe/index.ts'
import { inferenceMode } from '../../torch/index.ts'
import { type Engine, pageTokens, type TextPart, type TextRequest } from '../index.ts'

test('an embedding is the mean of the hidden states, whoever is beside it', async () => {
  const prompt = ids(300, 2)
  const read = async (engine: Engine): Promise<Float32Array | undefined> => {
    let found: Float32Array | undefined
    for await (const { embedding } of engine.generate({ prompt, maxNewTokens: 0, embedding: true }))
      found = embedding ?? found
    return found
  }
  const [alone, [again, beside]] = await withEngine({}, async engine => [
    await read(engine),
    await Promise.all([read(engine), read(engine), write(engine, { ...wanted, prompt: ids(140, 1) })]),
  ])
  expect([again, beside]).toEqual([alone, alone])
  using model = openModel(gguf).load({ kind: 'decoder', weights: 'stored' })
  computeSteadily(model)
  const mean = inferenceMode(() =>
    model.model.forward(tokensOfSequences([prompt])).hidden.mean(0),
  ).tolist() as number[]
  const length = Math.hypot(...mean)
  // Attention sums page by page, on entries of 1/8 that come of 300 tokens.
  for (const [d, value] of (alone ?? []).entries()) expect(value).toBeCloseTo((mean[d] ?? 0) / length, 3)
})

describe('routing', () => {
  const read = async (engine: Engine, request: TextRequest) => {
    const parts: TextPart[] = []
    for await (const part of engine.generate({ ...wanted, routing: true, ...request })) parts.push(part)
    const written = parts.flatMap(part => part.tokens.map(({ id }) => id))
    return { written, routed: parts.flatMap(({ routing }) => routing ?? []) }
  }

  test('is told of each token that is read, as the model alone decides it', async () => {
    const prompt = ids(150, 3)
    await withEngine({}, async engine => {
      const [{ written, routed }] = await Promise.all([
        read(engine, { prompt, maxNewTokens: 5 }),
        write(engine, { ...wanted, prompt: ids(90, 1), maxNewTokens: 30 }), // somebody beside it
      ])
      const all = [...prompt, ...written.slice(0, -1)]
      const tokens = routed.flatMap(part => part.tokens)
      expect(tokens.map(({ id }) => id)).toEqual(all)
      expect(routed[0]?.layers).toEqual([0, 1])
      using model = openModel(gguf).load({ kind: 'decoder', weights: 'stored' })
      computeSteadily(model)
      const { routings } = inferenceMode(() => model.forward(tokensOfSequences([all])))
      for (const [layer, { served }] of routings.entries()) {
        if (served.kind !== 'token') throw new Error('tokens choose')
        expect(tokens.map(token => token.experts[layer])).toEqual(served.indices.tolist())
        const weights = served.weights.tolist() as number[][]
        // Attention sums page by page, and an activation next to the middle of two of 254 steps goes to the other.
        for (const [i, token] of tokens.entries())
          for (const [k, weight] of (token.weights[layer] ?? []).entries())
            expect(weight).toBeCloseTo(weights[i]?.[k] ?? Number.NaN, 2)
      }
    })
  })

  test('of fewer experts is of as many, and after a pause is not told again', async () => {
    const room = { texts: 2, context: 384, cacheTokens: 3 * pageTokens }
    await withEngine(room, async engine => {
      const request = { maxNewTokens: 250, expertsPerToken: 1 }
      const both = await Promise.all([1, 2].map(seed => read(engine, { ...request, prompt: ids(60, seed) })))
      expect((await engine.status()).preemptions).toBeGreaterThan(0)
      for (const [i, { written, routed }] of both.entries()) {
        const tokens = routed.flatMap(part => part.tokens)
        expect(tokens.map(({ id }) => id)).toEqual([...ids(60, i + 1), ...written.slice(0, -1)])
        for (const { experts, weights } of tokens)
          expect([experts, weights].map(each => each.map(({ length }) => length))).toEqual([
            [1, 1],
            [1, 1],
          ])
      }
    })
  })

  test('on miss is as the text says, but where copies stand in', async () => {
    const memory = process.memoryUsage.rss() + 300e6
    const request = { ...wanted, maxNewTokens: 9, prompt: ids(5, 1) }
    const [plain] = await alone([request])
    await withEngine({ memory }, async engine => {
      const texts = await Promise.all(
        (['read', 'resident'] as const).map(onMiss => write(engine, { ...request, onMiss })),
      )
      for (const text of texts) expect(withoutEnd(text)).toEqual(withoutEnd(plain as Written)) // all are there
    })
    await withEngine({ memory, onMiss: { kind: 'copy', type: 'Q4_0' } }, engine =>
      expect(write(engine, { ...request, onMiss: 'read' })).rejects.toThrow('onMiss: is not for each text'),
    )
  })

  test('of more experts than are chosen is refused', () =>
    withEngine({}, engine =>
      expect(write(engine, { prompt: [5], expertsPerToken: 5 })).rejects.toThrow(
        'expertsPerToken: must be in 1..',
      ),
    ))
})

// Texts of many at once, against the same texts alone.
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test, vi } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import {
  alone,
  folder,
  gguf,
  ids,
  type Written,
  wanted,
  withEngine,
  withoutEnd,
  write,
} from '../../../tests/support/engine-texts.ts'
import { writeServedModel } from '../../../tests/support/served-model.ts'
import { byteTokenizer } from '../../data/index.ts'
import { CausalLM, generateText, openModel, openSource, writeModelFolder } from '../../models/index.ts'
import { memoryUse } from '../../torch/index.ts'
import { Engine, pageTokens, type TextPart, type TextRequest } from '../index.ts'

describe('a text does not depend on the others', () => {
  test('greedy: the same tokens, to the last bit of their probabilities', async () => {
    const prompts = [ids(5, 1), ids(130, 2), ids(700, 3), ids(1, 4), ids(256, 5), ids(40, 6)]
    const requests = prompts.map(prompt => ({ ...wanted, prompt }))
    const mixed = await withEngine({ texts: 3 }, engine =>
      Promise.all(requests.map(request => write(engine, request))),
    )
    for (const { ids } of mixed) {
      expect(ids.length).toBe(200)
      expect(new Set(ids).size).toBeGreaterThan(5) // it says something
    }
    expect(mixed.map(withoutEnd)).toEqual((await alone(requests)).map(withoutEnd))
  })

  test.each(['f32', 'bf16', 'f16'] as const)('from weights in %s, too', async dtype => {
    const path = join(temporaryFolder(), dtype)
    writeModelFolder(path, openSource(folder), { dtype })
    for (const name of ['tokenizer.json', 'tokenizer_config.json'])
      copyFileSync(join(folder, name), join(path, name))
    const prompts = [ids(5, 1), ids(140, 2), ids(30, 3), ids(1, 4)]
    const requests = prompts.map(prompt => ({ ...wanted, maxNewTokens: 40, prompt }))
    const mixed = await withEngine(
      { texts: 3 },
      engine => Promise.all(requests.map(request => write(engine, request))),
      path,
    )
    expect(mixed.map(withoutEnd)).toEqual((await alone(requests, path)).map(withoutEnd))
  })

  test('nor does the choice of experts, where routers are as wide as they are', async () => {
    const fields = { hidden_size: 256, num_experts: 16, num_experts_per_tok: 4, num_attention_heads: 4 }
    const wide = writeServedModel(temporaryFolder(), { fields }).gguf
    const requests = [ids(5, 1), ids(30, 2), ids(140, 3), ids(9, 4)].map(prompt => ({
      ...wanted,
      maxNewTokens: 50,
      prompt,
    }))
    const mixed = await withEngine(
      {},
      engine => Promise.all(requests.map(request => write(engine, request))),
      wide,
    )
    expect(mixed.map(withoutEnd)).toEqual((await alone(requests, wide)).map(withoutEnd))
  })

  test('drawn: each by its own seed', async () => {
    const requests = [1, 2, 3, 4].map(seed => ({
      prompt: ids(20, 1),
      temperature: 3,
      maxNewTokens: 20,
      stopIds: [],
      seed,
    }))
    const mixed = await withEngine({}, engine => Promise.all(requests.map(request => write(engine, request))))
    expect(new Set(mixed.map(({ ids }) => ids.join())).size).toBe(4)
    expect(mixed.map(withoutEnd)).toEqual((await alone(requests)).map(withoutEnd))
  })

  test('nor on what is kept of earlier ones', async () => {
    const start = ids(3 * pageTokens + 5, 1)
    const requests = [start, [...start, ...ids(200, 2)], [...start.slice(0, 300), ...ids(90, 3)], start].map(
      prompt => ({ ...wanted, maxNewTokens: 40, prompt }),
    )
    const cached = await withEngine({ texts: 2 }, async engine => {
      const texts: Written[] = []
      for (const request of requests) texts.push(await write(engine, request))
      return texts
    })
    expect(cached.map(({ end }) => end.cachedTokens)).toEqual([0, 3, 2, 3].map(pages => pages * pageTokens))
    expect(cached.map(withoutEnd)).toEqual((await alone(requests)).map(withoutEnd))
  })

  test('several that share a prompt read it once', async () => {
    const prompt = ids(2 * pageTokens + 10, 1)
    const requests = [1, 2, 3].map(seed => ({
      prompt,
      temperature: 3,
      maxNewTokens: 10,
      stopIds: [],
      seed,
      logprobs: 0,
    }))
    const shared = await withEngine({}, engine =>
      Promise.all(requests.map(request => write(engine, request))),
    )
    expect(shared.map(({ end }) => end.cachedTokens)).toEqual([0, 2 * pageTokens, 2 * pageTokens])
    expect(shared.map(withoutEnd)).toEqual((await alone(requests)).map(withoutEnd))
  })

  test('nor on whether it is put aside, so that others have room', async () => {
    const prompts = [ids(5, 1), ids(130, 2), ids(300, 3), ids(126, 4)]
    const requests = prompts.map(prompt => ({ ...wanted, prompt, promptLogprobs: 0 }))
    const { texts, status } = await withEngine(
      { texts: 4, context: 512, cacheTokens: 6 * pageTokens },
      async engine => ({
        texts: await Promise.all(requests.map(request => write(engine, request))),
        status: await engine.status(),
      }),
    )
    expect(status).toMatchObject({ running: 0, waiting: 0, cacheUse: 0, promptTokens: 561, newTokens: 800 })
    expect(status.preemptions).toBeGreaterThan(0)
    expect(texts.map(withoutEnd)).toEqual((await alone(requests)).map(withoutEnd))
    for (const [i, { end }] of texts.entries())
      expect(end).toMatchObject({ promptTokens: prompts[i]?.length, newTokens: 200 })
  })

  test('nor does one that is put aside while others end, or is cancelled then', async () => {
    const room = { texts: 2, context: 384, cacheTokens: 3 * pageTokens }
    await withEngine(room, async engine => {
      const [first, second] = [new AbortController(), new AbortController()]
      const request = { ...wanted, maxNewTokens: 300, prompt: ids(60, 1) }
      const both = [first, second].map(({ signal }, i) =>
        write(engine, { ...request, prompt: ids(60, i), signal }),
      )
      while ((await engine.status()).preemptions === 0) await new Promise(setImmediate)
      expect(await engine.status()).toMatchObject({ running: 1, waiting: 1 })
      second.abort()
      expect((await both[1])?.end).toMatchObject({ reason: 'aborted' })
      expect(await engine.status()).toMatchObject({ running: 1, waiting: 0 })
      expect((await both[0])?.ids.length).toBe(300)
      expect((await write(engine, request)).ids.length).toBe(300)
    })
  })

  test('nor on whether others have fewer experts, or report theirs', async () => {
    const plain = { ...wanted, maxNewTokens: 40 }
    const requests: TextRequest[] = [
      { ...plain, prompt: ids(140, 1) },
      { ...plain, prompt: ids(140, 1), expertsPerToken: 1 },
      { ...plain, prompt: ids(9, 2), routing: true },
      { ...plain, prompt: ids(140, 1), expertsPerToken: 1, routing: true },
    ]
    const mixed = await withEngine({}, engine => Promise.all(requests.map(request => write(engine, request))))
    expect(mixed.map(withoutEnd)).toEqual((await alone(requests)).map(withoutEnd))
    expect(mixed[0]?.logprobs).not.toEqual(mixed[1]?.logprobs)
    expect(mixed[1]?.logprobs).toEqual(mixed[3]?.logprobs)
  })

  test('nor on a budget of memory', async () => {
    const requests = [ids(5, 1), ids(900, 2)].map(prompt => ({ ...wanted, maxNewTokens: 60, prompt }))
    const write2 = (engine: Engine) => Promise.all(requests.map(request => write(engine, request)))
    const memory = process.memoryUsage.rss() + 300e6
    const tiered = await withEngine({ texts: 2, memory }, async engine => {
      const texts = await write2(engine)
      expect((await engine.status()).experts?.uses).toBeGreaterThan(0)
      return texts
    })
    expect(tiered.map(withoutEnd)).toEqual((await withEngine({ texts: 2 }, write2)).map(withoutEnd))
  })

  // Angles that follow from a text's length: no two are read together.
  test('of whatever length, where angles go by it', async () => {
    const rope_scaling = { rope_type: 'dynamic', factor: 2 }
    const fields = { max_position_embeddings: 64, rope_scaling }
    const other = writeServedModel(temporaryFolder(), { fields }).folder
    const requests = [ids(5, 1), ids(50, 2)].map(prompt => ({ ...wanted, maxNewTokens: 12, prompt }))
    const mixed = await withEngine(
      { texts: 2 },
      engine => Promise.all(requests.map(request => write(engine, request))),
      other,
    )
    expect(mixed.map(withoutEnd)).toEqual((await alone(requests, other)).map(withoutEnd))
  })
})

test('writes what generateText() writes', async () => {
  const options = { temperature: 0.9, maxNewTokens: 40, seed: 3, stop: ['e'] }
  using model = openModel(gguf).load({ kind: 'text', weights: 'stored' })
  let text = ''
  for await (const piece of generateText(model, byteTokenizer(), 'Once upon', options)) text += piece
  const written = await withEngine({}, engine => write(engine, { prompt: 'Once upon', ...options }))
  expect(written.text).toBe(text)
})

test('probabilities of the prompt are those that the model writes by', async () => {
  await withEngine({}, async engine => {
    const first = await write(engine, { ...wanted, prompt: ids(140, 1), maxNewTokens: 30 })
    const prompt = [...ids(140, 1), ...first.ids]
    const parts: TextPart[] = []
    for await (const part of engine.generate({ prompt, maxNewTokens: 0, promptLogprobs: 2 })) parts.push(part)
    const [{ prompt: read } = {}, { tokens, end } = {}] = parts
    expect(parts.length).toBe(2)
    expect([tokens, end?.reason, end?.cachedTokens]).toEqual([[], 'max-new-tokens', 0])
    expect(read?.ids).toEqual(prompt)
    expect(read?.probabilities[0]).toBeNull()
    expect(read?.probabilities.length).toBe(prompt.length)
    for (const [i, logprob] of first.logprobs.entries()) {
      // Attention sums in another order where tokens are read together: roundings of f32 in two layers, on logits of order ten.
      expect(read?.probabilities[140 + i]?.logprob).toBeCloseTo(logprob, 3)
      expect(read?.probabilities[140 + i]?.top[0]?.id).toBe(first.ids[i])
    }
  })
})

test('a text has the form that is asked for, beside others that have none', async () => {
  const jsonSchema = {
    type: 'object',
    properties: {
      name: { type: 'string', maxLength: 8 },
      tags: { type: 'array', items: { enum: ['a', 'b'] }, maxItems: 3 },
    },
    required: ['name', 'tags'],
  }
  await withEngine({}, async engine => {
    const free = { ...wanted, prompt: ids(9, 1), maxNewTokens: 60 }
    const formed = [0, 1, 30].map(temperature => ({ prompt: 'x', temperature, grammar: { jsonSchema } }))
    const [other, ...texts] = await Promise.all([free, ...formed].map(request => write(engine, request)))
    for (const { text, end } of texts) {
      expect(end.reason).toBe('end-of-text')
      const value = JSON.parse(text) as { name: string; tags: string[] }
      expect([...value.name].length).toBeLessThanOrEqual(8)
      expect(value.tags.filter(tag => tag !== 'a' && tag !== 'b')).toEqual([])
    }
    expect(other).toMatchObject(withoutEnd((await alone([free]))[0] as Written))
    await expect(write(engine, { prompt: 'x', grammar: { jsonSchema: { not: {} } } })).rejects.toThrow(
      'grammar.jsonSchema.not: cannot be held to',
    )
    expect(await engine.status()).toMatchObject({ running: 0, waiting: 0 })
  })
})

test('a form is compiled while the prompt is read, and a text need not wait for it to end', async () => {
  await withEngine({ texts: 2 }, async engine => {
    const grammar = { jsonSchema: { type: 'string', maxLength: 2000 } }
    const request = { ...wanted, prompt: ids(300, 1), grammar }
    const late = await write(engine, { ...request, deadlineMs: 0 })
    expect(late.end).toMatchObject({ reason: 'deadline', newTokens: 0 })
    const gone = new AbortController()
    const left = write(engine, { ...request, signal: gone.signal })
    gone.abort()
    expect((await left).end).toMatchObject({ reason: 'aborted' })
    await expect(write(engine, { ...request, grammar: { ebnf: 'root ::= x' } })).rejects.toThrow(
      'grammar: cannot be read',
    )
    expect(await engine.status()).toMatchObject({ running: 0, waiting: 0 })
    const { text } = await write(engine, { ...request, grammar: { ebnf: 'root ::= "yes"' } })
    expect(text).toBe('yes')
  })
})

test('a text waits while forms of others are compiled, and says the same', async () => {
  const list = (maxItems: number) => ({ type: 'array', items: { enum: ['a', 'b'] }, minItems: 40, maxItems })
  const request = (maxItems: number): TextRequest => ({
    ...{ prompt: ids(9, maxItems), temperature: 3, maxNewTokens: 400, logprobs: 0 },
    grammar: { jsonSchema: list(maxItems) },
  })
  const free = { ...wanted, prompt: ids(9, 1), maxNewTokens: 300 }
  const all = [free, ...[60, 61, 62, 63, 64].map(request)]
  const mixed = await withEngine({ texts: 3 }, engine => Promise.all(all.map(one => write(engine, one))))
  expect(mixed.map(withoutEnd)).toEqual((await alone(all)).map(withoutEnd))
})

describe('requests', () => {
  test('beyond what may wait are refused at once', async () => {
    await withEngine({ texts: 1, waiting: 1 }, async engine => {
      const request = { ...wanted, maxNewTokens: 30, prompt: [5] }
      const [a, b, c] = await Promise.allSettled([1, 2, 3].map(() => write(engine, request)))
      expect([a?.status, b?.status]).toEqual(['fulfilled', 'fulfilled'])
      expect(c).toMatchObject({ status: 'rejected', reason: { name: 'BusyError', waiting: 1 } })
    })
  })

  test('are cancelled between two tokens, and while they wait', async () => {
    await withEngine({ texts: 1 }, async engine => {
      const [running, waiting] = [new AbortController(), new AbortController()]
      const request = { ...wanted, prompt: [5] }
      const first = (async () => {
        let seen = 0
        let end: TextPart['end']
        for await (const part of engine.generate({ ...request, signal: running.signal })) {
          if (++seen === 3) running.abort()
          end = part.end ?? end
        }
        return end
      })()
      const second = write(engine, { ...request, signal: waiting.signal })
      waiting.abort()
      expect((await second).end).toMatchObject({ reason: 'aborted', newTokens: 0 })
      expect(await first).toMatchObject({ reason: 'aborted', newTokens: 3 })
      for await (const _ of engine.generate(request)) break // who stops reading is gone, too
      expect(await engine.status()).toMatchObject({ running: 0, waiting: 0 })
    })
  })

  test('end as they are when their time is over, and while they wait', async () => {
    await withEngine({ texts: 1 }, async engine => {
      const clock = vi.spyOn(performance, 'now')
      const late = performance.now() + 7_200_000
      const request = { ...wanted, maxNewTokens: 900, prompt: [5] }
      const first = (async () => {
        const parts: TextPart[] = []
        for await (const part of engine.generate({ ...request, deadlineMs: 3_600_000 })) {
          if (parts.push(part) === 3) clock.mockReturnValue(late)
        }
        return parts
      })()
      const second = write(engine, { ...request, deadlineMs: 0 })
      expect((await second).end).toMatchObject({ reason: 'deadline', newTokens: 0, promptTokens: 1 })
      const parts = await first
      clock.mockRestore()
      expect(parts.at(-1)?.end).toMatchObject({ reason: 'deadline', newTokens: 3 })
      const { text } = await write(engine, { ...request, maxNewTokens: 3 })
      expect(parts.map(part => part.text).join('')).toBe(text)
      expect(await engine.status()).toMatchObject({ running: 0, waiting: 0 })
    })
  })

  test('that cannot be say why', async () => {
    await withEngine({ context: 32 }, async engine => {
      await expect(write(engine, { prompt: ids(32, 1) })).rejects.toThrow(
        'prompt: has 32 tokens; the 32 positions leave no room to continue',
      )
      await expect(write(engine, { prompt: [] })).rejects.toThrow('prompt: is empty')
      await expect(write(engine, { prompt: [5], topP: 2 })).rejects.toThrow('topP: must be above 0')
      expect((await write(engine, { ...wanted, prompt: ids(20, 1) })).end).toMatchObject({
        reason: 'positions',
        newTokens: 12,
      })
      expect(engine.facts).toEqual({ texts: 4, context: 32, cacheTokens: 4 * pageTokens, waiting: 64 })
    })
  })

  test('fail with what a step of the model fails with, and the next one succeeds', async () => {
    await withEngine({ texts: 2 }, async engine => {
      const request = { ...wanted, maxNewTokens: 20, prompt: ids(140, 1) }
      const before = await write(engine, request)
      const forward = vi.spyOn(CausalLM.prototype, 'forward')
      forward.mockImplementationOnce(() => {
        throw new Error('no memory is left')
      })
      const both = await Promise.allSettled([write(engine, request), write(engine, request)])
      forward.mockRestore()
      for (const one of both)
        expect(one).toMatchObject({ status: 'rejected', reason: { message: 'no memory is left' } })
      expect(withoutEnd(await write(engine, request))).toEqual(withoutEnd(before))
    })
  })
})

test('counts what it does', async () => {
  await withEngine({ texts: 2 }, async engine => {
    await write(engine, { ...wanted, prompt: ids(200, 1), maxNewTokens: 5 })
    await write(engine, { ...wanted, prompt: ids(200, 1), maxNewTokens: 5 })
    const { load, ...status } = await engine.status()
    expect(status).toMatchObject({
      promptTokens: 400,
      cachedTokens: pageTokens,
      newTokens: 10,
      experts: null,
    })
    expect(status.cacheUse).toBe(0) // what is kept of prompts counts as free
    expect(load.map(({ layer }) => layer)).toEqual([0, 1])
    for (const { maxOverMean } of load) expect(maxOverMean).toBeGreaterThanOrEqual(1)
  })
})

test.each([
  [{ context: 2000 }, "context: 2000 exceeds the model's 1024 positions"],
  [{ cacheTokens: 100 }, 'cacheTokens: 100 hold no text of 1024 tokens: raise it, or lower context'],
  [{ texts: 0 }, 'texts: must be a whole number of at least 1, got 0'],
  [{ memory: 1e6 }, 'memory: 1 MB are too little'],
])('%j is refused', async (options, message) => {
  await expect(Engine.open(gguf, options)).rejects.toThrow(message)
})

test('a model that is no decoder is refused', async () => {
  const path = fileURLToPath(new URL('../../../tests/fixtures/switch_transformers', import.meta.url))
  await expect(Engine.open(path)).rejects.toThrow('is no decoder, and only decoders are served')
})

test('nothing is left behind', async () => {
  const run = () =>
    withEngine({}, engine => write(engine, { ...wanted, prompt: ids(140, 1), maxNewTokens: 6 }), folder)
  await run()
  const before = memoryUse().tensors
  for (let i = 0; i < 3; i++) await run()
  expect(memoryUse().tensors - before).toBe(0)
})

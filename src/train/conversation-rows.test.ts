// Packed conversations: every example once, whole, and blind to its neighbours.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { byteTokenizerFiles, type Corpus, prepareConversations } from '../data/index.ts'
import { openModel, tokensOfSequences } from '../models/index.ts'
import { noGrad, tensor, tidy } from '../torch/index.ts'
import { ConversationRows } from './conversation-rows.ts'
import { lossesSchema } from './objective.ts'
import { AdamW } from './optimizer/adamw.ts'
import { trainStep } from './step.ts'

const folder = temporaryFolder()
let corpora = 0

/** A corpus of prompts and completions of bytes. */
async function corpusOf(examples: readonly (readonly [string, string])[]): Promise<Corpus> {
  const place = join(folder, `${corpora++}`)
  mkdirSync(place)
  for (const [name, content] of Object.entries(byteTokenizerFiles()))
    writeFileSync(join(place, name), content)
  const file = join(place, 'data.jsonl')
  writeFileSync(
    file,
    examples.map(([prompt, completion]) => JSON.stringify({ prompt, completion })).join('\n'),
  )
  return prepareConversations({
    ...{ out: join(place, 'corpus'), paths: [file], validation: 0 },
    tokenizer: { kind: 'file', file: join(place, 'tokenizer.json') },
  })
}

interface Row {
  ids: number[]
  targets: number[]
}

/** The examples of a row, as they are read. */
const examplesOf = (rows: ConversationRows, row: number): Row[] =>
  tidy(() => {
    const { inputs, targets } = rows.batch([row])
    const [ids, wanted] = [inputs.ids, targets].map(of => Array.from(of.toTypedArray<'i64'>(), Number)) as [
      number[],
      number[],
    ]
    return inputs.starts.slice(0, -1).map((start, i) => {
      const end = inputs.starts[i + 1]
      return { ids: ids.slice(start, end), targets: wanted.slice(start, end) }
    })
  })

const bytes = (text: string): number[] => [...Buffer.from(text)]

test('each example is in one row, with targets at its completion and its end alone', async () => {
  const lengths = fc.array(fc.tuple(fc.nat({ max: 6 }), fc.integer({ min: 1, max: 9 })), {
    minLength: 1,
    maxLength: 40,
  })
  await fc.assert(
    fc.asyncProperty(lengths, async sizes => {
      const examples = sizes.map(
        ([p, c], i) => ['p'.repeat(p), `${String.fromCharCode(97 + (i % 26))}`.repeat(c)] as const,
      )
      const corpus = await corpusOf(examples)
      const rows = new ConversationRows(corpus.train, 16, { long: 'refuse', together: 1 })
      const first = examplesOf(rows, 0)[0] as Row
      const offset =
        (first.ids[0] as number) - (bytes((examples[0] as readonly string[]).join(''))[0] as number)
      const found = Array.from({ length: rows.count }, (_, row) => {
        const own = examplesOf(rows, row)
        expect(own.reduce((sum, { ids }) => sum + ids.length, 0)).toBeLessThanOrEqual(16)
        return own
      }).flat()
      const wanted = examples.map(([prompt, completion]) => {
        const all = bytes(prompt + completion).map(byte => byte + offset)
        const end = found[0]?.targets.at(-1) as number
        return {
          ids: all,
          targets: [...all.slice(1), end].map((id, i) => (i + 1 < prompt.length ? -100 : id)),
        }
      })
      const sorted = (list: readonly Row[]): string[] => list.map(row => JSON.stringify(row)).sort()
      expect(sorted(found)).toEqual(sorted(wanted))
      rows.dispose()
    }),
    { numRuns: 25 },
  )
})

describe('examples that are too long', () => {
  const examples = [
    ['', 'abc'],
    ['', 'abcdefghijkl'],
    ['0123456789', 'end'],
  ] as const

  test('are cut, left out, or refused', async () => {
    const { train } = await corpusOf(examples)
    const cut = new ConversationRows(train, 8, { long: 'cut', together: 1 })
    expect([cut.cut, cut.dropped]).toEqual([2, 0])
    expect(
      examplesOf(cut, 0)
        .concat(examplesOf(cut, 1))
        .map(({ ids }) => ids.length),
    ).toContain(8)
    const dropped = new ConversationRows(train, 8, { long: 'drop', together: 1 })
    expect([dropped.count, dropped.dropped]).toEqual([1, 2])
    expect(() => new ConversationRows(train, 8, { long: 'refuse', together: 1 })).toThrow(
      'data.long: 2 of 3 examples are longer than data.sequenceLength, 8 (the longest 13)',
    )
    expect(() => new ConversationRows(train, 2, { long: 'drop', together: 1 })).toThrow(
      'leaves no example of the train split',
    )
  })
})

describe('what is learnt', () => {
  const fixture = (name: string): string =>
    fileURLToPath(new URL(`../../tests/fixtures/${name}`, import.meta.url))
  const losses = lossesSchema.parse({ balance: 'none', z: 0 })

  test.each(['olmoe', 'deepseek_v3', 'gpt_oss', 'qwen3_moe'])(
    '%s: of packed examples what each alone would teach',
    name => {
      tidy(() => {
        const model = openModel(fixture(name)).load({ kind: 'decoder', dtype: 'f64' })
        const rows = [
          [5, 6, 7, 8],
          [9, 10],
          [11, 12, 13, 14, 15, 16],
        ]
        const targets = rows.map(row => row.map(id => (id % 3 === 0 ? -100 : id + 1)))
        const lossOf = (of: readonly number[]): number => {
          const wanted = tensor(of.flatMap(i => targets[i] as number[]).map(BigInt))
          return noGrad(() =>
            model.loss(tokensOfSequences(of.map(i => rows[i] as number[])), wanted).loss.item(),
          )
        }
        const counts = targets.map(row => row.filter(id => id >= 0).length)
        const total = counts.reduce((sum, count) => sum + count, 0)
        const mean = rows.reduce((sum, _, i) => sum + lossOf([i]) * (counts[i] as number), 0) / total
        expect(lossOf([0, 1, 2])).toBeCloseTo(mean, 12)
      })
    },
  )

  test('micro-batches count by their answers: as one batch would', async () => {
    const { train } = await corpusOf([
      ['question', 'a'],
      ['', 'a long answer!'],
    ])
    const rows = new ConversationRows(train, 16, { long: 'refuse', together: 1 })
    expect(rows.count).toBe(2)
    const gradients = (micro: readonly (readonly number[])[]): number[] =>
      tidy(() => {
        // As many ids as bytes have; the fixture's weights decide nothing here.
        const model = openModel(fixture('olmoe')).load({ kind: 'decoder', dtype: 'f64' })
        const batches = micro.map(of => {
          const { inputs, targets, ...batch } = rows.batch(of)
          const isTaught = targets.ge(0)
          const folded = targets.remainder(90).maskedFill(isTaught.logicalNot(), -100)
          return { ...batch, inputs: { ...inputs, ids: inputs.ids.remainder(90) }, targets: folded }
        })
        using optimizer = new AdamW(model.parameters())
        trainStep(model, optimizer, batches, { losses, learningRate: 0, clip: null, observe: false })
        return model.lm_head?.weight.grad?.flatten().tolist() as number[]
      })
    const [one, two] = [gradients([[0, 1]]), gradients([[0], [1]])]
    for (const [i, value] of one.entries()) expect(two[i]).toBeCloseTo(value, 12)
  })
})

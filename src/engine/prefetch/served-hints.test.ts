// Hints in place of routers.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { fixture, quantized } from '../../../tests/support/tiered-files.ts'
import { type CausalLM, Generation, openModel, openSource, tokensOf } from '../../models/index.ts'
import { inferenceMode, tensor } from '../../torch/index.ts'
import { TieredModel } from '../store/open.ts'
import { alwaysOn } from '../store/trial.ts'
import { readChoices } from '../trace/read.ts'
import { recordRouting } from '../trace/record.ts'
import { type HintTable, hintsOf, readHints, writeHints } from './hint-table.ts'
import { hintedGrid, ServedHints } from './served-hints.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-served-'))
afterAll(() => rmSync(scratch, { recursive: true }))

const text = Array.from({ length: 40 }, (_, i) => 3 + ((7 * i * i + i) % 60))

const routingsOf = (model: CausalLM) =>
  inferenceMode(() => model.forward(tokensOf(tensor([text]).long())).routings)

/** Of even tokens the experts by their ids, of odd ones nothing. */
function madeHints(model: CausalLM): HintTable {
  const { layers, experts } = hintedGrid(model)
  const hints = new Map<number, number[][]>()
  for (const id of new Set(text.filter(each => each % 2 === 0)))
    hints.set(
      id,
      Array.from({ length: layers }, (_, layer) => [(id + layer) % experts]),
    )
  return { model: 'made', layers, experts, hints }
}

describe.each([
  ['mixtral', fixture('mixtral')],
  ['olmoe', fixture('olmoe')],
  ['deepseek_v3', fixture('deepseek_v3')],
  ['gpt_oss', quantized('gpt_oss', 'mxfp4', scratch)],
])('%s', (name, path) => {
  test('tokens that are known get what is foretold with the weight of all, others what routers choose', () => {
    using model = openModel(path).load({ kind: 'decoder', weights: 'stored' })
    const table = madeHints(model)
    using served = new ServedHints(model, table)
    const routings = routingsOf(model)
    let [chosenCount, servedCount] = [0, 0]
    for (const [i, { chosen, served }] of routings.entries()) {
      if (chosen.kind !== 'token' || served.kind !== 'token') throw new Error('tokens choose')
      const [wanted, got] = [chosen.indices, served.indices].map(indices => indices.tolist() as number[][])
      for (const [t, id] of text.entries()) {
        const foretold = table.hints.get(id)?.[i]
        const slots = (got as number[][])[t]?.filter(expert => expert >= 0)
        expect(slots).toEqual(foretold ?? wanted?.[t])
        chosenCount += wanted?.[t]?.length ?? 0
        servedCount += wanted?.[t]?.filter(expert => slots?.includes(expert)).length ?? 0
      }
      expectClose(served.weights.sum(-1), chosen.weights.sum(-1), 1e-5)
    }
    expect(served.counts).toEqual({ chosen: chosenCount, served: servedCount })
  })

  test('their own recording changes nothing but by what hints leave out, and read ahead they are never wrong', async () => {
    const [trace, file] = [join(scratch, `${name}.trace`), join(scratch, `${name}.hints`)]
    using model = openModel(path).load({ kind: 'decoder', weights: 'stored' })
    await recordRouting(model, [[text]], { file: trace, name })
    writeHints(file, hintsOf(readChoices(trace).choices, name, 1))
    const write = (of: CausalLM): number[] => {
      using generation = new Generation(of, [text], { temperature: 0, maxNewTokens: 30, stopIds: [] })
      const ids: number[] = []
      while (!generation.isOver) ids.push(...generation.step().map(({ id }) => id))
      return ids
    }
    const plain = write(model)
    using served = ServedHints.read(model, file)
    const wanted = write(model)
    const { chosen, served: kept } = served.counts
    expect(kept).toBeGreaterThan(chosen / 2)
    using tiered = new TieredModel(openSource(path))
    const { bytes } = tiered.keepExperts(Number.MAX_SAFE_INTEGER)
    const store = tiered.keepExperts(bytes / 2, { prefetch: { kind: 'hints', file, layers: 1 } })
    if (store.ahead) store.ahead.trial = alwaysOn
    const isKnown = (id: number): boolean => readHints(file, hintedGrid(tiered.model)).hints.has(id)
    using _ = ServedHints.read(tiered.model, file)
    expect(write(tiered.model)).toEqual(wanted)
    if (wanted.every(isKnown)) expect(store.counts.wasted).toBe(0)
    served[Symbol.dispose]()
    expect(write(model)).toEqual(plain)
  })
})

test('hints of other sizes are refused, and what is frozen is freed', () => {
  using model = openModel(fixture('mixtral')).load({ kind: 'decoder' })
  const table = madeHints(model)
  expect(() => new ServedHints(model, { ...table, layers: 9 })).toThrow(
    'hints: are for a model of other sizes',
  )
  expectNoLeak(() => new ServedHints(model, table)[Symbol.dispose]())
})

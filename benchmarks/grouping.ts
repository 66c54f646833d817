// Texts that are written together where a quarter of the experts fits: what is read for a token when all of them take part in
// each step, and when those go on whose experts are the most alike, so that they fit. A replay of what an engine's texts chose:
// the store decides by the same pool and policy. `benchmarks/grouping.ts MODEL` takes another model than random weights.

import { readFileSync } from 'node:fs'
import { createPolicy, defaultPolicy, Engine, ExpertPool, type RoutedToken } from '../src/engine/index.ts'
import { report } from './support/report.ts'
import { groupedStoredModel } from './support/stored-model.ts'

const [texts, tokens, share] = [8, 96, 0.25]
/** Steps that are not counted: a pool begins empty. */
const warmup = 16
const path = process.argv[2] ?? groupedStoredModel()

/** Experts of each token that a text read or wrote after its prompt, as numbers of the pool. */
type Text = readonly { experts: readonly (readonly number[])[] }[]

/** Two texts of each subject, which go on from a document of the sample. */
async function written(): Promise<Text[]> {
  const engine = await Engine.open(path, { texts, context: 128 })
  const documents = ['bible', 'es', 'code', 'maths'].flatMap(name =>
    readFileSync(new URL(`../samples/${name}.jsonl`, import.meta.url), 'utf8')
      .trim()
      .split('\n')
      .slice(-2),
  )
  const prompts = documents.map(line => (JSON.parse(line) as { text: string }).text.slice(0, 24))
  const all = await Promise.all(
    prompts.map(async (prompt, seed) => {
      const routed: RoutedToken[] = []
      for await (const { routing } of engine.generate({
        ...{ prompt, seed, routing: true, stopIds: [] },
        ...{ temperature: 1, maxNewTokens: tokens },
      }))
        routed.push(...(routing?.tokens ?? []))
      return routed.slice(-tokens + 1)
    }),
  )
  await engine.close()
  return all
}

interface Candidate {
  /** Of its last token, which the next one is expected to share. */
  experts: ReadonlySet<number>
  /** Steps since then. */
  waited: number
}

/**
 * Who goes on, by number: whoever has waited as long as may be, or one, which goes on for half of that; and then whoever adds
 * the fewest experts, as long as all of them fit.
 */
function groupOf(candidates: readonly Candidate[], room: number, mostWait: number): number[] {
  const waits = candidates.map(({ waited }) => waited)
  const longest = Math.max(...waits)
  const first = waits.indexOf(longest >= mostWait / 2 ? longest : Math.min(...waits))
  const due = [...waits.keys()].filter(i => (waits[i] as number) >= mostWait)
  const going = new Set(due.length > 0 ? due : [first])
  const expected = new Set([...going].flatMap(i => [...(candidates[i] as Candidate).experts]))
  for (;;) {
    const others = [...candidates.entries()].filter(([i]) => !going.has(i))
    const added = others.map(([i, { experts }]) => ({ i, fresh: [...experts].filter(e => !expected.has(e)) }))
    const [next] = added.toSorted((a, b) => a.fresh.length - b.fresh.length)
    if (!next || expected.size + next.fresh.length > room) return [...going]
    going.add(next.i)
    for (const expert of next.fresh) expected.add(expert)
  }
}

/** @param mostWait null: all take part in each step */
function replayed(all: readonly Text[], mostWait: number | null) {
  const layers = all[0]?.[0]?.experts.length ?? 0
  const experts = 1 + Math.max(...all.flat().flatMap(token => token.experts.flat()))
  const active = all[0]?.[0]?.experts[0]?.length ?? 0
  const room = Math.round(share * layers * experts)
  const policy = defaultPolicy(Math.floor(share * experts), experts, active)
  const pool = new ExpertPool(room, createPolicy(policy, { layers, experts }))
  const numbersOf = (token: Text[number] | undefined, layer: number): number[] =>
    (token?.experts[layer] ?? []).map(expert => layer * experts + expert)
  const at = all.map(() => 1)
  const waited = all.map(() => 0)
  const counted = { steps: 0, tokens: 0, needed: 0, read: 0 }
  let now = 0
  for (let step = 0; all.every((text, i) => (at[i] as number) < text.length); step++) {
    const last = all.map((text, i) => text[(at[i] as number) - 1])
    const candidates = last.map((token, i) => ({
      experts: new Set(Array.from({ length: layers }, (_, layer) => numbersOf(token, layer)).flat()),
      waited: waited[i] as number,
    }))
    const going = mostWait === null ? [...all.keys()] : groupOf(candidates, room, mostWait)
    const isCounted = step >= warmup ? 1 : 0
    for (let layer = 0; layer < layers; layer++) {
      const needed = new Set(going.flatMap(i => numbersOf(all[i]?.[at[i] as number], layer)))
      now++
      for (const expert of needed) {
        counted.needed += isCounted
        if (pool.has(expert)) pool.use(expert, now)
        else {
          counted.read += isCounted
          pool.admit(expert, now, needed)
        }
      }
    }
    for (const i of all.keys()) {
      const goes = going.includes(i)
      waited[i] = goes ? 0 : (waited[i] as number) + 1
      if (goes) at[i] = (at[i] as number) + 1
    }
    counted.steps += isCounted
    counted.tokens += isCounted * going.length
  }
  return { ...counted, room }
}

const all = await written()
const settings = [null, 2, 4, 8, 16]
const results = settings.map(wait => replayed(all, wait))
report({
  name: 'grouping',
  setting: { path, texts, tokens, share },
  rows: [
    ['', 'tokens a step', 'experts needed for a token', 'read for a token'],
    ...results.map((result, i) => [
      settings[i] === null ? 'all in each step' : `groups, nobody waits for more than ${settings[i]} steps`,
      (result.tokens / result.steps).toFixed(2),
      (result.needed / result.tokens).toFixed(2),
      (result.read / result.tokens).toFixed(2),
    ]),
  ],
  notes: [`${results[0]?.room} experts fit`],
  data: { results },
})

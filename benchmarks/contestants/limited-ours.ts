// Decoding a given text within a budget, for benchmarks/limited.ts.
//   usage: limited-ours.ts SETTING_JSON: { file, vocab, prompt, room, limit, share, read, prefetch }

import { loadTiered, TieredModel } from '../../src/engine/index.ts'
import { openSource, startSession } from '../../src/models/index.ts'
import { serve } from '../support/contestant.ts'
import { givenText, secondsOf } from '../support/decoding.ts'

const setting = JSON.parse(process.argv[2] ?? '{}')
const { file, prompt, room, limit, share, read, prefetch } = setting
const text = givenText(setting)

/** With no share of the limit there is room for one expert of each kind. */
function open(): TieredModel {
  const source = openSource(file)
  const how = { read, prefetch: { kind: prefetch } }
  if (share > 0) return loadTiered(source, { memory: share * limit, context: prompt + room, ...how }).tiered
  const tiered = new TieredModel(source)
  tiered.keepExperts(0, how)
  return tiered
}

const { model, store } = open()
const session = startSession(model, { prompts: [text.slice(0, prompt)], newTokens: room })
session.next(session.first)
let at = prompt

await serve(async count => {
  const before = { ...store.counts.totals }
  const seconds = await secondsOf(() => {
    for (let i = 0; i < count; i++) session.next([[text[at++] ?? 0]])
  })
  const { uses, hits } = store.counts.totals
  return { seconds, hitRate: (hits - before.hits) / (uses - before.uses) }
})

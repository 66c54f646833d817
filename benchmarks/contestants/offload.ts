// Decoding with some of the experts in memory, for benchmarks/offload.ts.
//   usage: offload.ts SETTING_JSON: { file, vocab, task, share, read, prefetch }

import { alwaysOn, TieredModel } from '../../src/engine/index.ts'
import { Generation, openSource } from '../../src/models/index.ts'
import { serve } from '../support/contestant.ts'
import { promptOf, secondsOf } from '../support/decoding.ts'

const { share, read, prefetch, ...setting } = JSON.parse(process.argv[2] ?? '{}')
const tiered = new TieredModel(openSource(setting.file))
const whole = tiered.keepExperts(Number.MAX_SAFE_INTEGER)
const store =
  share === 1 ? whole : tiered.keepExperts(share * whole.bytes, { read, prefetch: { kind: prefetch } })
if (store.ahead) store.ahead.trial = alwaysOn
const options = { temperature: 0, stopIds: [], maxNewTokens: setting.task.room }
const generation = new Generation(tiered.model, [promptOf(setting)], options)
generation.step()

await serve(async count => {
  const before = { ...store.counts.totals }
  const seconds = await secondsOf(() => {
    for (let i = 0; i < count; i++) generation.step()
  })
  const { uses, hits, bytes, useful, wasted } = store.counts.totals
  return {
    seconds,
    hitRate: (hits - before.hits) / (uses - before.uses),
    bytesPerToken: (bytes - before.bytes) / count,
    usefulPerToken: (useful - before.useful) / count,
    wastedPerToken: (wasted - before.wasted) / count,
  }
})

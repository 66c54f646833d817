// Where a step of decoding spends its time, by operator, while a text is written as ever: for benchmarks/decode-parts.ts.
//   usage: decode-parts.ts SETTING_JSON

import { Generation, openModel } from '../../src/models/index.ts'
import { profile } from '../../src/torch/index.ts'
import { serve } from '../support/contestant.ts'
import { promptOf, settingOf } from '../support/decoding.ts'

/** Operators of each part; the first that fits counts. */
const parts: readonly (readonly [string, RegExp])[] = [
  ['experts', /encoded_experts/],
  ['linear layers and head', /encoded_linear/],
  ['attention over the cache', /attention|rotate/],
  ['norms and routers', /rms_norm|route|::mm$/],
  ['residuals, copies, views, sampling', /./],
]
const partOf = (operator: string): string => parts.find(([, names]) => names.test(operator))?.[0] ?? ''

const setting = settingOf(process.argv[2])
const model = openModel(setting.file).load({ kind: 'decoder', weights: 'stored' })
const options = { temperature: 0, stopIds: [], maxNewTokens: setting.task.room }
const generation = new Generation(model, [promptOf(setting)], options)
generation.step()

/** Steps, half of them alone, as to look at each operator takes time, and half looked at. */
await serve(count => {
  const seconds = Object.fromEntries(parts.map(([name]) => [name, 0]))
  const half = count / 2
  const steps = (): void => {
    for (let i = 0; i < half; i++) generation.step()
  }
  const start = performance.now()
  steps()
  const step = (performance.now() - start) / 1e3 / half
  const operators = profile(steps)
  for (const { name, hostSeconds } of operators) {
    const part = partOf(name)
    seconds[part] = (seconds[part] ?? 0) + hostSeconds / half
  }
  return { step, ...seconds }
})

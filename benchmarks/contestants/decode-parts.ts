// Where a step of decoding spends its time: each part's forward is timed while a text is written, for benchmarks/decode-parts.ts.
//   usage: decode-parts.ts SETTING_JSON

import { Generation, openModel } from '../../src/models/index.ts'
import type { Module } from '../../src/nn/index.ts'
import { serve } from '../support/contestant.ts'
import { promptOf, settingOf } from '../support/decoding.ts'

const setting = settingOf(process.argv[2])
const model = openModel(setting.file).load({ kind: 'decoder', weights: 'stored' })

/** Seconds since the last round, by part. */
const seconds: Record<string, number> = {}

/** Lets a module's forward add to a part; on a CPU it is done when it returns. */
function timed(part: string, module: Module): void {
  const own = module as Module & { forward(...input: unknown[]): unknown }
  const forward = own.forward.bind(own)
  own.forward = (...input) => {
    const start = performance.now()
    const output = forward(...input)
    seconds[part] = (seconds[part] ?? 0) + (performance.now() - start) / 1000
    return output
  }
}

for (const { input_layernorm, self_attn, post_attention_layernorm, mlp } of model.model.layers) {
  timed('attention', self_attn)
  timed('routers and experts', mlp)
  for (const norm of [input_layernorm, post_attention_layernorm]) timed('norms', norm)
}
timed('norms', model.model.norm)
timed('embedding', model.model.embed_tokens)
if (model.lm_head) timed('head', model.lm_head)

const options = { temperature: 0, stopIds: [], maxNewTokens: setting.task.room }
const generation = new Generation(model, [promptOf(setting)], options)
generation.step()

await serve(count => {
  for (const part of Object.keys(seconds)) seconds[part] = 0
  for (let i = 0; i < count; i++) generation.step()
  return Object.fromEntries(Object.entries(seconds).map(([part, sum]) => [part, sum / count]))
})

// Our side of benchmarks/batch.ts: texts written together by an engine.
//   usage: batch.ts SETTING_JSON

import { Engine } from '../../src/engine/index.ts'
import { type BatchSetting, promptsOf } from '../support/batching.ts'
import { serve } from '../support/contestant.ts'
import { secondsOf } from '../support/decoding.ts'

const setting = JSON.parse(process.argv[2] ?? '{}') as BatchSetting
const { file, texts } = setting
const engine = await Engine.open(file, { texts, context: 1024 })

async function write(prompt: readonly number[], count: number): Promise<void> {
  let tokens = 0
  const request = { prompt, temperature: 0, stopIds: [], maxNewTokens: count }
  for await (const part of engine.generate(request)) tokens += part.tokens.length
  if (tokens !== count) throw new Error(`${tokens} tokens in place of ${count}`)
}

await serve(async count => ({
  seconds: await secondsOf(() => Promise.all(promptsOf(setting).map(prompt => write(prompt, count)))),
}))

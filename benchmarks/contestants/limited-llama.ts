// llama.cpp decoding a given text from the mapped file, for benchmarks/limited.ts.
//   usage: limited-llama.ts SETTING_JSON: { file, vocab, prompt, room }

import { serve } from '../support/contestant.ts'
import { givenText, secondsOf } from '../support/decoding.ts'
import { openLlama } from '../support/llama.ts'

const setting = JSON.parse(process.argv[2] ?? '{}')
const { file, prompt, room } = setting
const text = givenText(setting)
const llama = await openLlama(2)
const model = await llama.loadModel({ modelPath: file, gpuLayers: 0, useMmap: true })
const context = await model.createContext({
  contextSize: prompt + room,
  batchSize: 512,
  threads: { ideal: 2, min: 2 },
})
const sequence = context.getSequence()

async function read(ids: number[]): Promise<void> {
  const generator = sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })
  await generator.next()
  await generator.return()
}

await read(text.slice(0, prompt))
let at = prompt

await serve(async count => {
  const seconds = await secondsOf(async () => {
    for (let i = 0; i < count; i++) await read([text[at++] ?? 0])
  })
  return { seconds }
})

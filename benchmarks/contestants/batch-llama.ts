// llama.cpp's side of benchmarks/batch.ts: sequences that node-llama-cpp evaluates in one batch.
//   usage: batch-llama.ts SETTING_JSON THREADS

import { type BatchSetting, promptsOf } from '../support/batching.ts'
import { serve } from '../support/contestant.ts'
import { secondsOf } from '../support/decoding.ts'
import { type LlamaSequence, openLlama } from '../support/llama.ts'

const setting = JSON.parse(process.argv[2] ?? '{}') as BatchSetting
const threads = Number(process.argv[3])
const llama = await openLlama(threads)
const model = await llama.loadModel({ modelPath: setting.file, gpuLayers: 0, useMmap: true })
const context = await model.createContext({
  ...{ contextSize: 1024, sequences: setting.texts, batchSize: 512 },
  threads: { ideal: threads, min: threads },
})
const sequences = promptsOf(setting).map(prompt => ({ prompt, sequence: context.getSequence() }))

async function write(sequence: LlamaSequence, prompt: readonly number[], count: number): Promise<void> {
  const generator = sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })
  for (let i = 0; i < count; i++) await generator.next()
  await generator.return()
}

await serve(async count => {
  for (const { sequence } of sequences) await sequence.clearHistory()
  return {
    seconds: await secondsOf(() =>
      Promise.all(sequences.map(({ prompt, sequence }) => write(sequence, prompt, count))),
    ),
  }
})
process.exit(0)

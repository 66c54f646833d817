// llama.cpp on one model: reads a request as JSON from stdin, writes the answer as JSON to stdout.
//   { model, prompts: [[ids]], tokens } -> [{ ids: greedy ids, probabilities: of the first new token, by id }]
//   { model, texts: [text] } -> [[ids]], without begin and end tokens
import { readFileSync } from 'node:fs'
import { getLlama, LlamaLogLevel } from 'node-llama-cpp'

const { model: modelPath, prompts = [], tokens, texts } = JSON.parse(readFileSync(0, 'utf8'))
const llama = await getLlama({
  build: 'never',
  gpu: false,
  skipDownload: true,
  logLevel: process.env.LLAMA_LOG ? LlamaLogLevel.debug : LlamaLogLevel.error,
})
const model = await llama.loadModel({ modelPath, gpuLayers: 0, useMmap: true })
if (texts) {
  process.stdout.write(JSON.stringify(texts.map(text => model.tokenize(text, false, 'trimLeadingSpace'))))
  process.exit(0)
}
const answers = []
for (const prompt of prompts) {
  // Keys and values in f32 too: in the usual f16 they would be rounded, and near ties decided otherwise.
  const context = await model.createContext({
    contextSize: 256,
    batchSize: 256,
    threads: 1,
    flashAttention: false,
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
  })
  const sequence = context.getSequence()
  const ids = []
  let probabilities
  const options = { temperature: 0, yieldEogToken: true }
  for await (const item of sequence.evaluateWithMetadata(prompt, { probabilities: true }, options)) {
    probabilities ??= [...item.probabilities]
    ids.push(item.token)
    if (ids.length >= tokens) break
  }
  answers.push({ ids, probabilities })
  await context.dispose()
}
process.stdout.write(JSON.stringify(answers))
process.exit(0)

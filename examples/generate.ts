// Text from any model that is here, shown as it comes; Ctrl-C, or a limit of time, ends it between two tokens.
//   run: npx tsx examples/generate.ts [MODEL] [--prompt TEXT] [--tokens 60] [--seconds 30]
// MODEL is a model folder, a run folder, a .gguf file, or org/name of a download; without one it makes a tiny model.

import { parseArgs } from 'node:util'
import { generateText, openModel } from 'switchyard'
import { reciter } from './support/reciter.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    prompt: { type: 'string', default: 'A switchyard' },
    tokens: { type: 'string', default: '60' },
    seconds: { type: 'string', default: '30' },
  },
})

const opened = openModel(positionals[0] ?? (await reciter()))
const model = opened.load({ kind: 'text' }) // refuses an encoder, which cannot continue a text
console.log(`${opened.path}: ${opened.config.model_type}, ${model.numParameters} parameters`)

// Node 20 may collect an AbortSignal.timeout() that only AbortSignal.any() knows (nodejs/node#57736): one controller.
const ended = new AbortController()
process.once('SIGINT', () => ended.abort())
setTimeout(() => ended.abort(), 1000 * Number(values.seconds)).unref()

const text = generateText(model, opened.tokenizer, values.prompt, {
  maxNewTokens: Number(values.tokens),
  temperature: 0.7,
  topP: 0.9,
  seed: 1,
  signal: ended.signal,
})
process.stdout.write(values.prompt)
// `for await` would do for the text alone; what the generator returns says how it ended.
let next = await text.next()
for (; !next.done; next = await text.next()) process.stdout.write(next.value)
const { reason, tokens, timings } = next.value
const rate = timings.newTokens / (timings.newSeconds || 1)
console.log(`\n${tokens} tokens, ended by ${reason}, ${rate.toFixed(0)} tokens/s`)

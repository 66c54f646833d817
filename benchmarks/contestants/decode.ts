// Our side of benchmarks/decode.ts: a GGUF file's weights as they are stored.
//   usage: decode.ts SETTING_JSON

import { type CausalLM, Generation, openModel } from '../../src/models/index.ts'
import { serve } from '../support/contestant.ts'
import { promptOf, secondsOf, settingOf } from '../support/decoding.ts'

const setting = settingOf(process.argv[2])
const { file, task } = setting
const prompt = promptOf(setting)

const load = (): CausalLM => openModel(file).load({ kind: 'decoder', weights: 'stored' })

/** A generation that has read the prompt and written a token. */
function started(model: CausalLM): Generation {
  const options = { temperature: 0, stopIds: [], maxNewTokens: task.room, kv: task.kv }
  const generation = new Generation(model, [prompt], options)
  generation.step()
  return generation
}

const rounds = {
  write() {
    const generation = started(load())
    return (count: number) => {
      for (let i = 0; i < count; i++) generation.step()
    }
  },
  read() {
    const model = load()
    return (count: number) => {
      for (let i = 0; i < count; i++) started(model)[Symbol.dispose]()
    }
  },
  open: () => (count: number) => {
    for (let i = 0; i < count; i++) {
      using model = load()
      started(model)[Symbol.dispose]()
    }
  },
}

const round = rounds[task.kind]()
await serve(async count => ({ seconds: await secondsOf(() => round(count)) }))

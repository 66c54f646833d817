// llama.cpp's side of benchmarks/decode.ts, through node-llama-cpp.
//   usage: llama.ts SETTING_JSON THREADS

import { serve } from '../support/contestant.ts'
import { promptOf, secondsOf, settingOf } from '../support/decoding.ts'
import { type LlamaModel, type LlamaSequence, openLlama } from '../support/llama.ts'

const setting = settingOf(process.argv[2])
const { file, task } = setting
const threads = Number(process.argv[3])
const prompt = promptOf(setting)
const llama = await openLlama(threads)

const load = (): Promise<LlamaModel> => llama.loadModel({ modelPath: file, gpuLayers: 0, useMmap: true })

async function sequenceOf(model: LlamaModel): Promise<LlamaSequence> {
  const context = await model.createContext({
    contextSize: prompt.length + task.room,
    batchSize: 512,
    threads: { ideal: threads, min: threads },
  })
  return context.getSequence()
}

/** A generator that has read the prompt and written a token. */
async function started(sequence: LlamaSequence): Promise<AsyncGenerator<number, void>> {
  const generator = sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true })
  await generator.next()
  return generator
}

/** Both sides have to compute as many tokens. */
function refuseOther(evaluated: number, wanted: number): void {
  if (evaluated !== wanted) throw new Error(`llama.cpp evaluated ${evaluated} tokens in place of ${wanted}`)
}

const rounds = {
  async write() {
    const sequence = await sequenceOf(await load())
    const generator = await started(sequence)
    return async (count: number) => {
      const before = sequence.nextTokenIndex
      for (let i = 0; i < count; i++) await generator.next()
      refuseOther(sequence.nextTokenIndex - before, count)
    }
  },
  async read() {
    const sequence = await sequenceOf(await load())
    return async (count: number) => {
      for (let i = 0; i < count; i++) {
        await sequence.clearHistory()
        const generator = await started(sequence)
        refuseOther(sequence.nextTokenIndex, prompt.length)
        await generator.return()
      }
    }
  },
  open: async () => async (count: number) => {
    for (let i = 0; i < count; i++) {
      const model = await load()
      await (await started(await sequenceOf(model))).return()
      await model.dispose()
    }
  },
}

const round = await rounds[task.kind]()
await serve(async count => ({ seconds: await secondsOf(() => round(count)) }))
process.exit(0)

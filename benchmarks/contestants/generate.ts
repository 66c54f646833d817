// Reading a prompt with a cache, and greedy decoding after it, for benchmarks/generate.ts.
//   usage: generate.ts SIZES_JSON prefill|decode PROMPT

import { Generation } from '../../src/models/index.ts'
import { serve } from '../support/contestant.ts'
import { makeModel, type Sizes } from './mixtral.ts'

const sizes = JSON.parse(process.argv[2] ?? '{}') as Sizes
const isPrefill = process.argv[3] === 'prefill'
const prompt = Array.from({ length: Number(process.argv[4]) }, (_, i) => (13 * i) % sizes.vocab)
const model = makeModel(sizes).eval()
const options = { temperature: 0, stopIds: [] }

/** A generation that has read the prompt, and so written a token. */
function started(): Generation {
  const generation = new Generation(model, [prompt], options)
  generation.step()
  return generation
}

let generation = isPrefill ? null : started()

await serve(count => {
  if (isPrefill) for (let i = 0; i < count; i++) started()[Symbol.dispose]()
  for (let i = 0; generation && i < count; i++) {
    if (generation.isOver) {
      generation[Symbol.dispose]()
      generation = started()
    }
    generation.step()
  }
  return {}
})

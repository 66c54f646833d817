// Greedy decoding on CUDA, in bf16.
//   usage: cuda-decode.ts JSON: { kind, fields, batch, prompt }

import { Generation } from '../../src/models/index.ts'
import { serve } from '../support/contestant.ts'
import { device } from '../support/cuda.ts'
import { finish, peakBytes } from '../support/device.ts'
import { makeModel } from './cuda-model.ts'

const { kind, fields, batch, prompt } = JSON.parse(process.argv[2] ?? '{}')
const model = makeModel(kind, fields, device as 'cuda', 'bf16').eval()
const prompts = Array.from({ length: batch }, (_, row) =>
  Array.from({ length: prompt }, (_, i) => (7 * row + 13 * i) % fields.vocab_size),
)

await serve(count => {
  using generation = new Generation(model, prompts, { temperature: 0, maxNewTokens: count, stopIds: [] })
  while (!generation.isOver) generation.step()
  finish()
  return { devicePeak: peakBytes() }
})

import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { expectClose } from '../../tests/support/tensors.ts'
import { generate, loadModel, openTensors } from './index.ts'

const folder = fileURLToPath(new URL('../../tests/fixtures/mixtral', import.meta.url))

test('logits equal those recorded from HF transformers', () => {
  const { model } = loadModel(folder)
  const reference = openTensors(`${folder}/reference.safetensors`)
  const { logits } = model.forward(reference.get('input_ids')!)
  expectClose(logits, reference.get('logits')!, 1e-5)
})

test('greedy generation', async () => {
  const { model } = loadModel(folder)
  const reference = openTensors(`${folder}/reference.safetensors`)
  const wanted = (reference.get('generated')!.tolist() as number[][])[0]!
  const ids = wanted.slice(0, 9)
  for await (const id of generate(model, wanted.slice(0, 9), {
    temperature: 0,
    maxNewTokens: 20,
    stopIds: [],
  }))
    ids.push(id)
  expect(ids).toEqual(wanted)
})

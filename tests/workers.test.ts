// The addon keeps no state per process that JavaScript could see: two worker threads may each load it.
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'

const program = `
  import { parentPort, workerData } from 'node:worker_threads'
  const { tensor, tidy, noGrad, memoryUse, manualSeed } = await import(workerData.module)
  const x = tensor([1, 2, 3], { requiresGrad: true })
  const before = memoryUse().tensors
  for (let i = 0; i < 500; i++) {
    tidy(() => {
      x.mul(x).sum().backward()
      noGrad(() => x.mul(2))
    })
  }
  parentPort.postMessage({ grad: x.grad.tolist(), leaked: memoryUse().tensors - before - 1 })
`

function run(): Promise<{ grad: number[]; leaked: number }> {
  const module = new URL('../dist/torch/index.js', import.meta.url).href
  return new Promise((resolve, reject) => {
    const url = new URL(`data:text/javascript,${encodeURIComponent(program)}`)
    const worker = new Worker(url, { workerData: { module } })
    worker.once('message', resolve).once('error', reject)
  })
}

test('two workers compute at the same time, each with its own tensors', async () => {
  const results = await Promise.all([run(), run()])
  for (const { grad, leaked } of results) {
    expect(grad).toEqual([1000, 2000, 3000])
    expect(leaked).toBe(0)
  }
})

test('a worker can be loaded again after another one ended', async () => {
  await run()
  expect((await run()).leaked).toBe(0)
})

// Two worker threads may each load the addon: tensors, scopes and generators belong to the thread. (Thread counts, the
// allocator and libtorch's shared random generators belong to the process.)
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

test('a worker that is terminated while it computes takes nothing else with it', async () => {
  const endless = `
    import { parentPort, workerData } from 'node:worker_threads'
    const { ones, tidy } = await import(workerData.module)
    const x = ones([4])
    parentPort.postMessage('started')
    for (;;) tidy(() => { try { x.add(1).matmul(ones([5, 5])) } catch {} })
  `
  const module = new URL('../dist/torch/index.js', import.meta.url).href
  for (let i = 0; i < 5; i++) {
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(endless)}`), {
      workerData: { module },
    })
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    await worker.terminate()
  }
  expect((await run()).leaked).toBe(0)
})

test('a failing operator near the end of the stack throws, and the process goes on', async () => {
  const deep = `
    import { parentPort, workerData } from 'node:worker_threads'
    const { ones } = await import(workerData.module)
    const x = ones([2])
    let thrown = 0
    const descend = () => {
      try { x.matmul(ones([3, 3])) } catch { thrown++ }
      descend()
    }
    try { descend() } catch {}
    parentPort.postMessage({ thrown, sum: x.sum().item() })
  `
  const module = new URL('../dist/torch/index.js', import.meta.url).href
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(deep)}`), {
    workerData: { module },
  })
  const { thrown, sum } = await new Promise<{ thrown: number; sum: number }>((resolve, reject) =>
    worker.once('message', resolve).once('error', reject),
  )
  expect(thrown).toBeGreaterThan(100)
  expect(sum).toBe(2)
})

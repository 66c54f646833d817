// Encoders and PEER from recipe to run folder: what they learn repeats, resumes and is evaluated as it must be.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Evaluation, loadRecipe, train } from '../src/train/index.ts'
import { runCli, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const path = (name: string): string => join(folder, name)

beforeAll(async () => {
  const prepared = ['data', 'prepare', '--sample', '--size', '40kB', '--tokenizer', 'bpe:512']
  const { stderr } = await runCli([...prepared, '--out', path('corpus'), '--quiet'])
  expect(stderr).toBe('')
  writeFileSync(
    path('recipe.yaml'),
    `name: test
model: { type: switchyard_moe_encoder, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_local_experts: 4 }
data: { path: ${path('corpus')}, sequenceLength: 32, batchSize: 4 }
optimizer: { kind: adamw, learningRate: 1e-2 }
steps: 12
evaluation: { every: 6, batches: 4 }
checkpoint: { every: 3, keepLast: 10 }
logging: { every: 1 }
`,
  )
})

interface Line {
  step: number
  losses?: Record<string, number>
  routing?: { maxOverMean: number; dropped: number }[]
  retrieval?: { numExperts: number; used: number; unevenness: number }[]
  evaluation?: Evaluation
}

const linesOf = (run: string): Line[] =>
  readFileSync(join(path(run), 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))

/** Everything that must repeat. */
const curve = (run: string): unknown[] =>
  linesOf(run).map(({ step, losses, evaluation }) => [step, losses ?? evaluation])

/** Trains until the end, or until a step is done. */
async function run(out: string, settings: readonly string[], { resume = false, until = Infinity } = {}) {
  const interruption = new AbortController()
  const recipe = loadRecipe(path('recipe.yaml'), settings)
  for await (const event of train(recipe, { out: path(out), resume, signal: interruption.signal })) {
    if (event.type === 'step' && event.step >= until) interruption.abort()
  }
}

const peer = [
  'model.experts={kind: peer, heads: 2, k: 4, querySize: 8}',
  'model.num_local_experts=64',
  'model.moe_layers=[1]',
]
const kinds: Record<string, string[]> = {
  'expert-choice': ['router.kind=expert-choice'],
  soft: ['router={kind: soft, slots: 8}'],
  'top-k': ['router.kind=top-k', 'dispatch={kind: capacity, factor: 1, policy: prioritized}'],
  peer,
  'decoder-peer': [...peer, 'model.type=switchyard_moe'],
}

describe.each(Object.entries(kinds))('%s', (name, settings) => {
  test('goes on as if it had not been interrupted, masks included', async () => {
    await run(`${name}-whole`, settings)
    await run(`${name}-parted`, settings, { until: 5 })
    expect(linesOf(`${name}-parted`).length).toBe(5)
    await run(`${name}-parted`, settings, { resume: true })
    expect(curve(`${name}-parted`)).toEqual(curve(`${name}-whole`))
  })

  test('learns', () => {
    const losses = linesOf(`${name}-whole`).flatMap(line => line.losses?.crossEntropy ?? [])
    // At first every token is as likely: ln 512 nats, or ln 513 with a mask; PEER's neurons begin less evenly.
    expect(Math.abs((losses[0] ?? 0) - Math.log(512))).toBeLessThan(0.3)
    expect(linesOf(`${name}-whole`).at(-1)?.evaluation?.loss).toBeLessThan((losses[0] ?? 0) - 0.2)
  })
})

test('experts that choose are balanced without a loss', () => {
  for (const { losses, routing = [] } of linesOf('expert-choice-whole')) {
    if (!losses) continue
    expect(losses).not.toHaveProperty('balance')
    expect(routing.map(({ maxOverMean }) => maxOverMean)).toEqual([1, 1])
    expect(Math.max(...routing.map(({ dropped }) => dropped))).toBeLessThan(1)
  }
  const [last] = linesOf('expert-choice-whole').slice(-1)
  expect(last?.evaluation?.expertLoad[0]?.length).toBe(last?.evaluation?.domains.length)
})

test.each(['peer', 'decoder-peer'])('%s says how its experts are used', name => {
  const [first] = linesOf(`${name}-whole`)
  expect(first?.retrieval).toEqual([
    { layer: 1, numExperts: 64, used: expect.any(Number), unevenness: expect.any(Number) },
  ])
  const { evaluation } = linesOf(`${name}-whole`).at(-1) ?? {}
  expect(evaluation?.retrieval).toMatchObject([{ layer: 1, numExperts: 64 }])
  expect(evaluation?.retrieval[0]?.used).toBeGreaterThan(0.3)
  expect(evaluation?.retrieval[0]?.used).toBeLessThanOrEqual(1)
  expect(evaluation?.expertLoad).toEqual([])
})

describe('from the command line', () => {
  test('an encoder is evaluated on the same masks, whatever the batches', async () => {
    const evaluate = ['eval', path('top-k-whole'), '--data', path('corpus'), '--json']
    const losses = await Promise.all(
      ['3', '8'].map(async size => JSON.parse((await runCli([...evaluate, '--batch-size', size])).stdout)),
    )
    const [one, other] = losses as [Evaluation, Evaluation]
    expect(one.tokens).toBe(other.tokens)
    expect(one.tokens % 5).toBe(0) // 15% of 32 positions
    expect(one.loss).toBeCloseTo(other.loss, 5) // sums of f32 in another order
  })

  test('an encoder is inspected, and continues no text', async () => {
    const inspected = await runCli(['inspect', path('expert-choice-whole')])
    expect(inspected.stdout).toContain('4 experts, expert-choice')
    expect(inspected.stdout).not.toContain('keys and values')
    const generated = await runCli(['generate', path('expert-choice-whole'), '--prompt', 'a', '--quiet'])
    expect(generated.code).toBe(2)
    expect(generated.stderr.trim().split('\n').length).toBe(1)
    expect(generated.stderr).toContain(
      'is an encoder, which fills in masked tokens and cannot continue a text',
    )
  })

  test('a decoder with PEER writes, is inspected and evaluated', async () => {
    const [generated, inspected, evaluated] = await Promise.all([
      runCli(['generate', path('decoder-peer-whole'), '--prompt', 'In the', '--max-new-tokens', '5']),
      runCli(['inspect', path('decoder-peer-whole')]),
      runCli(['eval', path('decoder-peer-whole'), '--data', path('corpus')]),
    ])
    expect(generated.stdout.startsWith('In the')).toBe(true)
    expect(inspected.stdout).toContain('64 single-neuron experts in 1 of 2 layers, 2 heads of 4')
    expect(evaluated.stdout).toMatch(/use of retrieved experts\n\n.*\nlayer 1 +64 +\d+\.\d%/)
  })
})

// Training on a mesh is the training of one process, but for the order in which numbers are added up.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { openTensors } from '../../src/models/index.ts'
import { runCli, temporaryFolder } from '../support/cli.ts'

const folder = temporaryFolder()
const corpus = join(folder, 'corpus')
const path = (name: string): string => join(folder, name)

const models = {
  mixtral: `model: { type: mixtral, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_local_experts: 4 }
losses: { balance: { kind: switch, coefficient: 0.01 }, z: 0.001 }`,
  // A bias that balances, and experts that all tokens share.
  deepseek: `model: { type: switchyard_moe, hidden_size: 32, intermediate_size: 16, num_hidden_layers: 2, num_attention_heads: 2, num_local_experts: 8, moe_layers: { after: 1 }, shared_intermediate_size: 16 }
router: { kind: biased-top-k, k: 3, groups: 4, topGroups: 2, biasRate: 0.003 }
losses: { balance: { kind: switch, coefficient: 1.0e-4, scope: sequence }, z: 0 }`,
} as const

beforeAll(async () => {
  const prepared = await runCli(
    ['data', 'prepare', '--sample', '--size', '40kB', '--tokenizer', 'bpe:512', '--out', corpus].concat(
      '--quiet',
    ),
  )
  expect(prepared.stderr).toBe('')
  for (const [name, settings] of Object.entries(models)) {
    writeFileSync(
      path(`${name}.yaml`),
      `name: ${name}
${settings}
data: { path: ${corpus}, sequenceLength: 32, batchSize: 4 }
optimizer: { kind: adamw, learningRate: 3e-3 }
schedule: { kind: constant }
steps: 8
evaluation: { batches: 2 }
checkpoint: { every: 4, keepLast: 3 }
logging: { every: 1 }
`,
    )
  }
})

type Line = {
  step: number
  losses?: Record<string, number>
  gradientNorm: number
  evaluation?: { loss: number }
}

const linesOf = (out: string): Line[] =>
  readFileSync(join(path(out), 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Line)

async function train(
  model: keyof typeof models,
  out: string,
  ranks: number,
  ...args: string[]
): Promise<Line[]> {
  const command = ['train', path(`${model}.yaml`), '--out', path(out), '--quiet', ...args]
  const launched = ranks === 1 ? command : ['launch', '-n', `${ranks}`, ...command, '--rank-timeout', '60']
  const { code, stderr } = await runCli(launched)
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return linesOf(out)
}

/**
 * f32 sums in another order differ in the last bits, by 2^-24 each; optimizers divide by what is as small, so that differences grow with
 * steps. Losses are means of 128 tokens' logits, which leaves a margin of ten over what 50 steps of the tiny recipes showed (2e-7).
 */
function expectAlike(one: readonly Line[], many: readonly Line[]): void {
  expect(many.map(({ step }) => step)).toEqual(one.map(({ step }) => step))
  for (const [i, { losses = {}, evaluation, step }] of one.entries()) {
    for (const [name, value] of Object.entries(losses))
      expect(
        Math.abs((many[i]?.losses?.[name] ?? Number.NaN) / value - 1),
        `${name} of step ${step}`,
      ).toBeLessThan(1e-6)
    if (evaluation)
      expect(Math.abs((many[i]?.evaluation?.loss ?? Number.NaN) / evaluation.loss - 1)).toBeLessThan(1e-6)
  }
}

describe.each(['mixtral', 'deepseek'] as const)('%s', model => {
  let one: Line[] = []
  beforeAll(async () => {
    one = await train(model, `${model}-1`, 1)
  })

  test.each(['data=2', 'expert=2'])('with %s has the losses of one process', async mesh => {
    expectAlike(one, await train(model, `${model}-${mesh}`, 2, '--mesh', mesh))
  })

  test('goes on from a checkpoint of another mesh', async () => {
    const steps = ['--set', 'steps=4']
    await train(model, `${model}-moved`, 2, '--mesh', 'expert=2', ...steps)
    const moved = await train(model, `${model}-moved`, 1, '--resume', '--set', 'steps=6')
    const back = await train(model, `${model}-moved`, 2, '--mesh', 'expert=2', '--resume', '--set', 'steps=8')
    const isStep = ({ losses }: Line): boolean => losses !== undefined
    expect(moved.length).toBeGreaterThan(4)
    expectAlike(one.filter(isStep), back.filter(isStep))
  })

  test('writes the folder that one process writes', () => {
    const of = (name: string) => openTensors(join(path(name), 'checkpoints/step-00000008/model.safetensors'))
    const [alone, together] = [of(`${model}-1`), of(`${model}-expert=2`)]
    expect([...together.keys()]).toEqual([...alone.keys()])
    for (const [name, tensor] of alone) expect(together.get(name)?.shape, name).toEqual(tensor.shape)
  })
})

test('accumulation, recomputation and capacity are of the whole batch too', async () => {
  const settings = [
    'gradientAccumulation=2',
    'recompute=layers',
    'dispatch.kind=capacity',
    'dispatch.factor=1',
    'steps=4',
  ]
  const args = settings.flatMap(setting => ['--set', setting])
  const one = await train('mixtral', 'all-1', 1, ...args)
  expectAlike(one, await train('mixtral', 'all-2', 2, '--mesh', 'expert=2', ...args))
})

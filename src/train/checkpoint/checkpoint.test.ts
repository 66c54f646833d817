import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import {
  type CausalLM,
  createModel,
  listCheckpoints,
  type MistralConfig,
  parseModelConfig,
} from '../../models/index.ts'
import { type DType, manualSeed, randn, tidy } from '../../torch/index.ts'
import { AdamW } from '../optimizer/adamw.ts'
import {
  pruneCheckpoints,
  restoreCheckpoint,
  saveCheckpoint,
  setAside,
  type Trainee,
  type TrainingState,
} from './checkpoint.ts'
import { wholeWeights } from './weights.ts'

const folder = temporaryFolder()
const tokenizerFile = join(folder, 'tokenizer.json')
writeFileSync(tokenizerFile, '{}')

const config = parseModelConfig(
  {
    model_type: 'mistral',
    vocab_size: 11,
    hidden_size: 8,
    intermediate_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 2,
  },
  'test',
) as MistralConfig

function trainee(seed: number, dtype: DType = 'f32'): Trainee & { model: CausalLM } {
  manualSeed(seed)
  const model = createModel(config).to(dtype)
  const all = { name: 'all', parameters: model.namedParameters(), scale: 1, weightDecay: 0 }
  const optimizer = new AdamW([all], { betas: [0.9, 0.95], epsilon: 1e-8 })
  const weights = wholeWeights(model, config)
  const saveTokenizer = (to: string): void => copyFileSync(tokenizerFile, join(to, 'tokenizer.json'))
  return { model, weights, optimizer, device: 'cpu', saveTokenizer, corpusFingerprint: 'a' }
}

function step({ model, optimizer }: ReturnType<typeof trainee>): void {
  tidy(() => {
    for (const parameter of model.parameters()) parameter.grad = randn(parameter.shape).to(parameter.dtype)
    optimizer.update(0.1)
  })
}

const state = (at: number): TrainingState => ({
  step: at,
  tokens: at * 10,
  skipped: 1,
  skippedInRow: 0,
  sampler: { epoch: 2, position: 5 },
  corpus: 'a',
  best: { step: 3, loss: 1.25 },
})

test.each(['f32', 'bf16'] as const)(
  'a restored trainee in %s goes on exactly: weights, masters, moments, random numbers',
  async dtype => {
    const original = trainee(1, dtype)
    for (let i = 0; i < 3; i++) step(original)
    const saved = await saveCheckpoint(join(folder, `exact-${dtype}`), original, state(3))
    const other = trainee(2, dtype)
    expect(await restoreCheckpoint(saved, other)).toEqual(state(3))
    // What follows draws from libtorch's shared generator: it must stand where it stood.
    await restoreCheckpoint(saved, original)
    for (let i = 0; i < 2; i++) step(original)
    await restoreCheckpoint(saved, other)
    for (let i = 0; i < 2; i++) step(other)
    for (const [name, tensor] of original.model.stateDict()) {
      expectClose(other.model.stateDict().get(name) ?? tensor.neg(), tensor, 0)
    }
    expect(other.optimizer.step).toBe(5)
  },
)

test('a checkpoint of another corpus is refused before anything changes', async () => {
  const original = trainee(1)
  const saved = await saveCheckpoint(join(folder, 'corpus'), original, state(1))
  const other = { ...trainee(2), corpusFingerprint: 'b' }
  const before = other.model.model.embed_tokens.weight.clone()
  await expect(restoreCheckpoint(saved, other)).rejects.toThrow(
    'the corpus has changed since the run was started',
  )
  expectClose(other.model.model.embed_tokens.weight, before, 0)
})

test('the newest and the best stay, damaged ones count for nothing', () => {
  const at = join(folder, 'prune')
  for (const name of [1, 2, 3, 4, 10].map(n => `step-${n}`)) mkdirSync(join(at, name), { recursive: true })
  setAside(join(at, 'step-10'))
  pruneCheckpoints(at, 2, 1)
  expect(listCheckpoints(at).map(path => path.slice(at.length + 1))).toEqual(['step-4', 'step-3', 'step-1'])
  expect(existsSync(join(at, 'step-10.damaged'))).toBe(true)
})

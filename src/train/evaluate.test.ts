import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { type Corpus, fileSource, loadTokenizer, openCorpus, prepareCorpus } from '../data/index.ts'
import {
  type CausalLM,
  createModel,
  type MaskedLM,
  type MixtralConfig,
  parseModelConfig,
  type SwitchyardMoeEncoderConfig,
  tokenRoutings,
  tokensOf,
} from '../models/index.ts'
import { manualSeed, tidy } from '../torch/index.ts'
import { evaluate } from './evaluate.ts'
import { evaluationBatch } from './examples.ts'
import { checkRecipe } from './recipe/check.ts'
import { tasksOfDomains } from './tasks.ts'
import { TokenWindows } from './token-windows.ts'
import { Trainer } from './trainer.ts'

const folder = temporaryFolder()
let corpus: Corpus
const length = 16

beforeAll(async () => {
  // Two domains of different alphabets: every token tells which one it is of.
  for (const [domain, letters] of [
    ['lower', 'abcdefgh'],
    ['upper', 'STUVWXYZ'],
  ] as const) {
    mkdirSync(join(folder, 'text', domain), { recursive: true })
    for (let i = 0; i < 6; i++) {
      const text = Array.from({ length: 120 + 10 * i }, (_, at) => letters[(at * (i + 3)) % 8]).join('')
      writeFileSync(join(folder, 'text', domain, `${i}.txt`), text)
    }
  }
  const paths = ['lower', 'upper'].map(domain => join(folder, 'text', domain))
  const out = join(folder, 'corpus')
  await prepareCorpus({ out, source: fileSource({ paths }), tokenizer: { kind: 'bytes' }, validation: 0.5 })
  corpus = openCorpus(out)
})

function model(): CausalLM {
  manualSeed(1)
  const config = parseModelConfig(
    {
      model_type: 'mixtral',
      vocab_size: corpus.vocabSize,
      hidden_size: 16,
      intermediate_size: 16,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      num_key_value_heads: 2,
      num_local_experts: 4,
      num_experts_per_tok: 1,
      initializer_range: 0.3,
    },
    'test',
  ) as MixtralConfig
  return createModel(config)
}

/** Of each target token the domain, by its letters; a document's end belongs to the letters before it. */
function domainsByLetter(ids: number[], targets: number[]): number[] {
  const tokenizer = loadTokenizer(corpus.tokenizerFile)
  const domain = (id: number): number | undefined => {
    const text = tokenizer.decode([id])
    return /[a-h]/.test(text) ? 0 : /[S-Z]/.test(text) ? 1 : undefined
  }
  return targets.map((target, i) => domain(target) ?? domain(ids[i] ?? 0) ?? Number.NaN)
}

test('scores, bits per byte and expert load per domain are those of a loop over tokens', async () => {
  const lm = model()
  const windows = new TokenWindows(corpus.validation, length)
  const { domains, moeLayers, expertLoad, ...total } = await evaluate(lm, windows, {
    domains: corpus.domains,
    batchSize: 3,
    batches: null,
  })
  const sums = {
    loss: [0, 0],
    tokens: [0, 0],
    load: [
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ],
  }
  for (let window = 0; window < windows.count; window++) {
    tidy(() => {
      const { inputs, targets } = windows.batch([window])
      const { logits, routings } = lm.eval().forward(tokensOf(inputs))
      const [ids, wanted] = [inputs, targets].map(t => (t.tolist() as number[][])[0] ?? []) as [
        number[],
        number[],
      ]
      const losses = logits.logSoftmax(-1).tolist() as number[][]
      const chosen = (tokenRoutings(routings)[1]?.indices.tolist() ?? []) as number[][]
      for (const [t, domain] of domainsByLetter(ids, wanted).entries()) {
        sums.loss[domain]! -= losses[t]![wanted[t]!]!
        sums.tokens[domain]! += 1
        sums.load[domain]![chosen[t]![0]!]! += 1
      }
    })
  }
  expect(domains.map(domain => domain.tokens)).toEqual(sums.tokens)
  expect(total.tokens).toBe(windows.count * length)
  for (const [d, { loss, perplexity, bitsPerByte }] of domains.entries()) {
    expect(loss).toBeCloseTo(sums.loss[d]! / sums.tokens[d]!, 5)
    expect(perplexity).toBeCloseTo(Math.exp(loss), 5)
    const { bytes, tokens } = corpus.validation.counts[d]!
    expect(bitsPerByte).toBeCloseTo((loss / Math.log(2)) * (tokens / bytes), 5)
  }
  expect(moeLayers).toEqual([0, 1])
  expect(expertLoad[1]).toEqual(sums.load)
})

function encoder(): MaskedLM {
  manualSeed(1)
  const config = parseModelConfig(
    {
      model_type: 'switchyard_moe_encoder',
      vocab_size: corpus.vocabSize + 1,
      mask_token_id: corpus.vocabSize,
      hidden_size: 16,
      intermediate_size: 16,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 2,
      num_local_experts: 4,
      router: { kind: 'top-k', k: 1 },
      initializer_range: 0.3,
    },
    'test',
  ) as SwitchyardMoeEncoderConfig
  return createModel(config)
}

test('of masked text only the positions that are to be predicted are scored', async () => {
  using lm = encoder()
  const windows = new TokenWindows(corpus.validation, length)
  const whole = await evaluate(lm, windows, { domains: corpus.domains, batchSize: 3, batches: null })
  const sums = { loss: [0, 0], tokens: [0, 0] }
  for (let window = 0; window < windows.count; window++) {
    tidy(() => {
      const { inputs, targets, domains } = evaluationBatch(lm, windows, [window])
      const losses = lm.eval().forward(inputs).logits.logSoftmax(-1).tolist() as number[][]
      for (const [t, target] of (targets.tolist() as number[]).entries()) {
        if (target < 0) continue
        sums.loss[Number(domains[t])]! -= losses[t]![target]!
        sums.tokens[Number(domains[t])]! += 1
      }
    })
  }
  expect(whole.tokens).toBe(windows.count * 2) // 15% of 16 positions are 2.4
  expect(whole.domains.map(({ tokens }) => tokens)).toEqual(sums.tokens)
  for (const [d, { loss }] of whole.domains.entries())
    expect(loss).toBeCloseTo(sums.loss[d]! / sums.tokens[d]!, 5)
  expect(whole.loss).toBeCloseTo((sums.loss[0]! + sums.loss[1]!) / (windows.count * 2), 5)
  // All the same every token is routed.
  expect(whole.expertLoad.flat(2).reduce((sum, count) => sum + count, 0)).toBe(windows.count * length)
})

test('what is masked is of the domain of the text under the mask', () => {
  using lm = encoder()
  const windows = new TokenWindows(corpus.train, length)
  const all = Array.from({ length: windows.count }, (_, window) => {
    const [text = []] = windows.batch([window]).inputs.tolist() as number[][]
    const wanted = domainsByLetter([text[0]!, ...text.slice(0, -1)], text)
    expect(Array.from(evaluationBatch(lm, windows, [window]).domains, Number)).toEqual(wanted)
    return new Set(wanted).size
  })
  expect(all).toContain(2) // a window in which the domain changes
})

test('the last token of a document is in its domain, the first of the next in the next', () => {
  const windows = new TokenWindows(corpus.train, length)
  for (let window = 0; window < windows.count; window++) {
    const { inputs, targets } = windows.batch([window])
    const [ids, wanted] = [inputs, targets].map(t => (t.tolist() as number[][])[0] ?? []) as [
      number[],
      number[],
    ]
    expect(Array.from(windows.targetDomains([window]), Number)).toEqual(domainsByLetter(ids, wanted))
  }
})

test('batches name the task of each input token, as the model numbers it', () => {
  const windows = new TokenWindows(corpus.train, length, [1, 0])
  for (let window = 0; window + 1 < windows.count; window++) {
    // Target t of a window is input t + 1: only the first input has no target of its own.
    const expected = Array.from(windows.targetDomains([window]), domain => 1 - Number(domain))
    const tasks = (windows.batch([window]).tasks?.tolist() ?? []) as number[][]
    expect(tasks[0]?.slice(1)).toEqual(expected.slice(0, -1))
  }
})

test("a router that goes by tasks trains and is evaluated on the corpus's domains", async () => {
  const trainer = new Trainer(
    checkRecipe(
      {
        name: 'x',
        steps: 2,
        model: {
          type: 'switchyard_moe',
          hidden_size: 8,
          intermediate_size: 8,
          num_hidden_layers: 1,
          num_attention_heads: 2,
        },
        router: { kind: 'task', k: 2 },
        data: { path: corpus.folder, sequenceLength: 8, batchSize: 2 },
        optimizer: { kind: 'adamw', learningRate: 0.01 },
      },
      'test',
    ),
  )
  expect(trainer.step(true).losses?.crossEntropy).toBeGreaterThan(0)
  const { domains, validation } = { ...trainer.corpus, validation: trainer.validation as TokenWindows }
  const { expertLoad } = await evaluate(trainer.model, validation, { domains, batchSize: 4, batches: null })
  // Two experts serve a domain's tokens, but for those whose input is of the document before.
  for (const load of expertLoad[0] ?? []) {
    const sorted = [...load].sort((a, b) => b - a)
    const total = sorted.reduce((sum, count) => sum + count, 0)
    expect((sorted[0] ?? 0) + (sorted[1] ?? 0)).toBeGreaterThan(0.9 * total)
  }
  expect(() => tasksOfDomains(trainer.config, ['lower', 'greek'])).toThrow(
    'router.tasks: the router knows no greek; it has lower, upper',
  )
  trainer.dispose()
})

test('a limited evaluation spreads over the whole split, and leaves every mode as it was', async () => {
  const lm = model().train()
  lm.model.norm.eval()
  const windows = new TokenWindows(corpus.validation, length)
  const { tokens, domains } = await evaluate(lm, windows, {
    domains: corpus.domains,
    batchSize: 2,
    batches: 3,
  })
  expect(tokens).toBe(6 * length)
  expect(domains.length).toBe(2)
  expect(lm.training).toBe(true)
  expect(lm.model.norm.training).toBe(false)
})

test('a validation loss that is not finite is never the best', () => {
  const recipe = checkRecipe(
    {
      name: 'x',
      steps: 1,
      model: {
        type: 'mixtral',
        hidden_size: 8,
        intermediate_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 2,
      },
      data: { path: corpus.folder, sequenceLength: 8, batchSize: 2 },
      optimizer: { kind: 'adamw', learningRate: 1 },
    },
    'test',
  )
  const trainer = new Trainer(recipe)
  const noted = [Number.NaN, 3, Number.POSITIVE_INFINITY, 2, 2, Number.NaN].map(loss =>
    trainer.noteLoss(loss),
  )
  expect(noted).toEqual([false, true, false, true, false, false])
  expect(trainer.state.best).toEqual({ step: 0, loss: 2 })
  trainer.dispose()
})

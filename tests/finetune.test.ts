// Fine-tuning from the command line: a model that is there learns other text, all of it or parts, and goes on after a stop.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { openModel } from '../src/models/index.ts'
import { noGrad, type Tensor, tidy } from '../src/torch/index.ts'
import { main, runCli, temporaryFolder } from './support/cli.ts'
import { writeServedModel } from './support/served-model.ts'

const folder = temporaryFolder()
const path = (name: string): string => join(folder, name)
const { folder: base, gguf } = writeServedModel(folder)
const [notes, corpus] = [path('notes.txt'), path('corpus')]

const settings = ['sequenceLength=48', 'batchSize=4'].flatMap(set => ['--set', `data.${set}`])
const finetune = (out: string, ...args: string[]): string[] => [
  ...['finetune', base, '--data', corpus, '--out', path(out), '--learning-rate', '1e-3'],
  ...settings,
  ...args,
]

beforeAll(async () => {
  writeFileSync(notes, 'Points lead trains from one track to another; a signal says when.\n\n'.repeat(60))
  const prepared = await runCli([
    'data',
    'prepare',
    '--from',
    notes,
    '--tokenizer',
    base,
    '--validation',
    '0',
    '--out',
    corpus,
  ])
  expect(prepared.stderr).toBe('')
})

interface Line {
  step?: number
  losses?: Record<string, number>
}

const metrics = (run: string): Line[] =>
  readFileSync(join(path(run), 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))

const losses = (run: string): number[] => metrics(run).flatMap(line => line.losses?.crossEntropy ?? [])

/** Paths of the parameters that a run has changed. */
const changed = (run: string): string[] =>
  tidy(() => {
    const [before, after] = [openModel(base).load(), openModel(path(run)).load()]
    const others = before.stateDict()
    return noGrad(() =>
      [...after.stateDict()].flatMap(([name, tensor]) =>
        tensor.equal(others.get(name) as Tensor) ? [] : name,
      ),
    )
  })

const continued = (model: string): ReturnType<typeof runCli> =>
  runCli(['generate', model, '--prompt', 'Points', '--max-new-tokens', '4', '--quiet'])

describe('all of it', () => {
  test('learns in one pass over the data, and the folder opens as the base does', async () => {
    const { code, stderr } = await runCli(finetune('all', '--set', 'logging.every=1'))
    expect(code).toBe(0)
    expect(stderr).toMatch(/^finetune {2}olmoe {2}4 experts top-2/m)
    expect(stderr).not.toContain('frozen')
    const curve = losses('all')
    expect(curve.at(-1)).toBeLessThan((curve[0] ?? 0) - 0.5)
    // The model's own balance loss, at its own weight, and no other.
    const recipe = readFileSync(join(path('all'), 'recipe.yaml'), 'utf8')
    expect(recipe).toMatch(/balance:\n {4}kind: mixtral-hf\n {4}coefficient: 0.01\n/)
    expect(metrics('all')[0]?.losses).not.toHaveProperty('z')
    const checkpoint = openModel(path('all'))
    expect(checkpoint.template).toBe(openModel(base).template)
    expect(changed('all')).toHaveLength(checkpoint.load().parameters().length)
  })

  test.each([
    ['all', []],
    ['parts', ['--train', 'router,experts:1.2']],
  ])('%s go on after a stop as if there had been none', async (name, what) => {
    const [whole, parts] = [`whole-${name}`, `parts-${name}`]
    const steps = (n: number): string[] => [
      ...what,
      ...['--set', `steps=${n}`, '--set', 'logging.every=1', '--set', 'schedule.kind=constant'],
    ]
    expect((await runCli(finetune(whole, ...steps(8)))).code).toBe(0)
    expect((await runCli(finetune(parts, ...steps(4)))).code).toBe(0)
    const resumed = await runCli(['train', '--out', path(parts), '--resume', '--set', 'steps=8'])
    expect(resumed.stderr).toContain('going on from step 4')
    expect(losses(parts)).toEqual(losses(whole))
  })
})

describe('parts', () => {
  test('are told before the first step; the others stay, bit for bit', async () => {
    const { stderr, code } = await runCli(finetune('router', '--train', 'router,norms', '--set', 'steps=3'))
    expect(code).toBe(0)
    expect(stderr).toMatch(/^part {7,}parameters {2}trained \(\d\.\d\d%\)$/m)
    expect(stderr).toMatch(/^experts +[\d,]+ {2}frozen$/m)
    expect(stderr).toMatch(/^router +[\d,]+ {2}all$/m)
    const parts = changed('router')
    expect(parts.every(name => /norm|gate\.weight/.test(name))).toBe(true)
    expect(parts.length).toBeGreaterThan(2)
  })

  test('single experts', async () => {
    expect((await runCli(finetune('expert', '--train=experts:1.2', '--set', 'steps=2'))).code).toBe(0)
    expect(changed('expert')).toEqual([
      'model.layers.1.mlp.experts.gate_up_proj',
      'model.layers.1.mlp.experts.down_proj',
    ])
  })
})

describe('adapters', () => {
  const adapted = (out: string, ...args: string[]): string[] =>
    finetune(out, '--lora', '4', '--on', 'attention,experts:0.1', '--set', 'logging.every=1', ...args)

  test("are all that is trained and saved, in PEFT's files; the run opens as the adapted model", async () => {
    const { code, stderr } = await runCli(adapted('lora', '--learning-rate', '1e-2'))
    expect(code).toBe(0)
    expect(stderr).toMatch(/^adapter +[\d,]+ {2}all$/m)
    expect(losses('lora').at(-1)).toBeLessThan((losses('lora')[0] ?? 0) - 0.2)
    const opened = openModel(path('lora'))
    expect(existsSync(join(opened.path, 'model.safetensors'))).toBe(false)
    expect(changed('lora').every(name => /self_attn|layers\.0\.mlp\.experts/.test(name))).toBe(true)
    expect((await continued(path('lora'))).code).toBe(0)
  })

  test('merge into a folder of their own, which computes the same', async () => {
    const converted = await runCli(['convert', path('lora'), '--out', path('merged')])
    expect(converted.code).toBe(0)
    expect(converted.stdout).toContain('an adapter merged into its base')
    tidy(() => {
      const [merged, adapted] = [openModel(path('merged')).load(), openModel(path('lora')).load()]
      const others = adapted.stateDict()
      for (const [name, tensor] of merged.stateDict())
        expect(tensor.equal(others.get(name) as Tensor)).toBe(true)
    })
  })

  test('merge into what folders may be: several files, stacked, in half precision', async () => {
    const args = ['--experts', 'stacked', '--shard-size', '50kB', '--dtype', 'bf16']
    const converted = await runCli(['convert', path('lora'), '--out', path('stacked'), ...args])
    expect(converted.stdout).toMatch(/ \d+ files, an adapter merged into its base/)
    const { weight_map: files } = JSON.parse(
      readFileSync(join(path('stacked'), 'model.safetensors.index.json'), 'utf8'),
    )
    expect(files).toHaveProperty(['model.layers.0.mlp.experts.gate_up_proj'])
    tidy(() => {
      const [merged, adapted] = [path('stacked'), path('lora')].map(name =>
        openModel(name).load().stateDict(),
      )
      const name = 'model.layers.0.mlp.experts.gate_up_proj'
      const wide = adapted?.get(name) as Tensor
      expect(merged?.get(name)?.float().equal(wide.to('bf16').float())).toBe(true)
    })
  })

  test('go on after a stop as if there had been none', async () => {
    const steps = (n: number): string[] => ['--set', `steps=${n}`, '--set', 'schedule.kind=constant']
    expect((await runCli(adapted('lora-whole', ...steps(6)))).code).toBe(0)
    expect((await runCli(adapted('lora-parts', ...steps(3)))).code).toBe(0)
    const resumed = await runCli(['train', '--out', path('lora-parts'), '--resume', '--set', 'steps=6'])
    expect(resumed.stderr).toContain('going on from step 3')
    expect(losses('lora-parts')).toEqual(losses('lora-whole'))
  })

  test('learn around the quantized weights of a GGUF file', async () => {
    const args = [
      'finetune',
      gguf,
      '--validation',
      '0',
      '--data',
      notes,
      '--lora',
      '4',
      '--on',
      'attention,experts',
      '--learning-rate',
      '1e-2',
    ]
    const run = await runCli(
      [...args, '--stored', '--out', path('qlora'), ...settings, '--set', 'logging.every=1'],
      folder,
    )
    expect(run.code).toBe(0)
    expect(losses('qlora').at(-1)).toBeLessThan((losses('qlora')[0] ?? 0) - 0.5)
    expect((await continued(path('qlora'))).code).toBe(0)
    const whole = await runCli(
      [...args, '--stored', '--out', path('refused'), '--train', 'attention'],
      folder,
    )
    expect(whole.stderr).toMatch(
      /trained: model\.layers\.0\.self_attn\.\w+\.base\.weight stays as its file encodes it and cannot be trained/,
    )
  })

  test('are named where the sum of files is wanted', async () => {
    const { code, stderr } = await runCli([
      'quantize',
      path('lora'),
      '--data',
      corpus,
      '--out',
      path('q.gguf'),
    ])
    expect(code).toBe(2)
    expect(stderr).toMatch(
      /is an adapter of .*: write the model with it first, by '.*convert .* --out FOLDER'/,
    )
  })
})

describe('conversations', () => {
  const chats = path('chats.jsonl')
  const ask = (n: number): unknown => ({
    messages: [
      { role: 'user', content: `Track ${n % 7}?` },
      { role: 'assistant', content: `Switch ${(n % 7) + 1}.` },
    ],
  })
  writeFileSync(chats, Array.from({ length: 120 }, (_, n) => JSON.stringify(ask(n))).join('\n'))

  test('teach answers by the chat template of the model, which then gives them', async () => {
    const args = [
      'finetune',
      base,
      '--data',
      chats,
      '--out',
      path('chats'),
      '--learning-rate',
      '1e-2',
      '--epochs',
      '12',
    ]
    const { code } = await runCli([...args, ...settings, '--set', 'logging.every=1'], folder)
    expect(code).toBe(0)
    expect(losses('chats').at(-1)).toBeLessThan(0.5)
    const reply = spawnSync(
      process.execPath,
      [main, 'chat', path('chats'), '--quiet', '--temperature', '0'],
      {
        input: 'Track 3?\n',
        encoding: 'utf8',
      },
    )
    expect(reply.stdout.trim()).toBe('Switch 4.')
  })

  test('have a template of their own for a model without one, which the result then has', async () => {
    const bare = path('bare')
    cpSync(base, bare, { recursive: true })
    rmSync(join(bare, 'chat_template.jinja'))
    const args = ['finetune', bare, '--data', chats, ...settings, '--set', 'steps=2']
    const without = await runCli([...args, '--out', path('refused')], folder)
    expect(without.code).toBe(1)
    expect(without.stderr).toContain('the model has no chat template, which messages need')
    const { code } = await runCli([...args, '--chat-template', 'plain', '--out', path('plain')], folder)
    expect(code).toBe(0)
    expect(openModel(path('plain')).template).toContain('{{ message.role }}: {{ message.content }}')
    const other = await runCli([...args, '--chat-template', 'none.jinja', '--out', path('refused')], folder)
    expect(other.stderr).toContain("--chat-template: must be plain or a file of Jinja, got 'none.jinja'")
  })

  test('are prepared once', async () => {
    const again = ['finetune', base, '--data', chats, '--out', path('again'), ...settings, '--set', 'steps=1']
    const before = readdirSync(join(folder, 'data'))
    expect((await runCli(again, folder)).code).toBe(0)
    expect(readdirSync(join(folder, 'data'))).toEqual(before)
  })

  test('that are longer than a sequence are told of, or refused', async () => {
    const long = path('long.jsonl')
    const lines = [ask(1), { prompt: 'x'.repeat(30), completion: 'y'.repeat(60) }]
    writeFileSync(long, lines.map(line => JSON.stringify(line)).join('\n'))
    const args = ['finetune', base, '--data', long, ...settings, '--set', 'steps=1']
    const cut = await runCli([...args, '--out', path('cut')], folder)
    expect(cut.stderr).toContain(
      '1 examples are longer than 48 tokens and are cut (data.long, data.sequenceLength)',
    )
    const refused = await runCli([...args, '--out', path('refused'), '--set', 'data.long=refuse'], folder)
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain('data.long: 1 of 2 examples are longer than data.sequenceLength, 48')
  })

  test.each([
    ['a role is missing', '{"messages":[{"content":"x"}]}', "line 1 has a message 1 that has no 'role'"],
    ['no JSON', 'x', 'line 1 is not JSON'],
    [
      'nothing is answered',
      '{"messages":[{"role":"user","content":"x"}]}',
      'line 1 has no message of the assistant',
    ],
  ])('%s', async (name, line, message) => {
    const file = path(`${name.replaceAll(' ', '-')}.jsonl`)
    writeFileSync(file, line)
    const { code, stderr } = await runCli(
      ['finetune', base, '--data', file, '--out', path('refused')],
      folder,
    )
    expect(code).toBe(1)
    expect(stderr).toContain(message)
    expect(existsSync(path('refused'))).toBe(false)
  })
})

test('pairs of answers are no text to score', async () => {
  const pairs = path('pairs.jsonl')
  const line = { prompt: 'a', chosen: 'b', rejected: 'c' }
  writeFileSync(pairs, Array.from({ length: 4 }, () => JSON.stringify(line)).join('\n'))
  const out = ['--validation', '0', '--out', path('pairs')]
  expect((await runCli(['data', 'prepare', '--from', pairs, '--for', base, ...out])).code).toBe(0)
  const { code, stderr } = await runCli(['eval', base, '--data', path('pairs'), '--split', 'train'])
  expect([code, stderr]).toEqual([2, expect.stringContaining('--data: holds pairs of answers')])
})

test('what was forgotten, and which experts are used otherwise, is told against the base', async () => {
  const args = [
    'eval',
    path('all'),
    '--data',
    corpus,
    '--split',
    'train',
    '--sequence-length',
    '48',
    '--against',
    base,
  ]
  const { code, stdout } = await runCli([...args, '--json'])
  expect(code).toBe(0)
  const { shift } = JSON.parse(stdout)
  expect(shift.domains).toHaveLength(1)
  expect(shift.domains[0].change).toBeLessThan(-0.5)
  expect(shift.experts.map(({ layer }: { layer: number }) => layer)).toEqual([0, 1])
  const table = await runCli(args)
  expect(table.stdout).toMatch(/^domain +before +now +change of loss$/m)
})

test('a run ends when validation has been no better for as long as its patience', async () => {
  const texts = path('texts')
  mkdirSync(texts)
  for (let i = 0; i < 8; i++) writeFileSync(join(texts, `${i}.txt`), `${'abcdefgh'[i]}`.repeat(400))
  const args = [
    'finetune',
    base,
    '--data',
    texts,
    '--validation',
    '0.3',
    '--out',
    path('patient'),
    '--learning-rate',
    '3e-2',
  ]
  const early = ['steps=200', 'evaluation.every=5', 'evaluation.patience=2'].flatMap(set => ['--set', set])
  const { code, stderr } = await runCli([...args, ...settings, ...early], folder)
  expect(code).toBe(0)
  expect(stderr).toMatch(/ends early: no better than at step \d+ \(evaluation\.patience\)/)
})

describe('what is refused', () => {
  test.each([
    [['--train', 'routers'], "'routers' is no part of a model"],
    [['--train', 'experts:5.0'], "'experts:5.0' is not there: layers with experts are 0, 1"],
    [['--lora', '4', '--on', 'norms'], 'norms has no linear layer and no stacked experts'],
    [['--on', 'attention'], '--on: is for adapters: give --lora or --adapter too'],
    [['--stored'], '--stored: is for adapters, as stored weights cannot be trained'],
    [['--set', 'router.kind=top-k'], "router: is the opened model's own: leave it out"],
  ])('%j', async (args, message) => {
    const { code, stderr } = await runCli(finetune('refused', ...args))
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(existsSync(path('refused'))).toBe(false)
  })

  test('text of another tokenizer', async () => {
    const other = path('other')
    await runCli([
      'data',
      'prepare',
      '--from',
      notes,
      '--tokenizer',
      'bpe:300',
      '--validation',
      '0',
      '--out',
      other,
    ])
    const { code, stderr } = await runCli(['finetune', base, '--data', other, '--out', path('refused')])
    expect(code).toBe(2)
    expect(stderr).toMatch(/was encoded by another tokenizer than that of .*: token \d+ is ".*", there none/)
  })
})

// Training from the command line: it learns, stops, is killed, and goes on as if nothing had happened.
import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFailed, test, vi } from 'vitest'
import { uniformSource } from '../src/models/index.ts'
import { loadRecipe, Trainer, train as trainRecipe } from '../src/train/index.ts'
import { main as cli, runCli, startCli, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const corpus = join(folder, 'corpus')
const recipe = join(folder, 'recipe.yaml')
const path = (name: string): string => join(folder, name)

beforeAll(async () => {
  const prepared = await runCli([
    'data',
    'prepare',
    '--sample',
    '--size',
    '40kB',
    '--tokenizer',
    'bpe:512',
    '--out',
    corpus,
    '--quiet',
  ])
  expect(prepared.stderr).toBe('')
  writeFileSync(
    recipe,
    `name: test
model: { type: mixtral, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_local_experts: 4 }
data: { path: ${corpus}, sequenceLength: 32, batchSize: 4 }
optimizer: { kind: adamw, learningRate: 1e-2 }
steps: 80
evaluation: { every: 20, batches: 8 }
checkpoint: { every: 5, keepLast: 3 }
logging: { every: 1 }
`,
  )
})

const train = (out: string, ...args: string[]): string[] => [
  'train',
  recipe,
  '--out',
  path(out),
  '--quiet',
  ...args,
]

interface Line {
  step: number
  losses?: Record<string, number>
  evaluation?: { loss: number }
}

function metrics(run: string): Line[] {
  return readFileSync(join(path(run), 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
}

/** Everything that must repeat: losses of every step and of every evaluation. */
const curve = (run: string): unknown[] =>
  metrics(run).map(({ step, losses, evaluation }) => [step, losses ?? evaluation?.loss])

const evaluations = (run: string): number[] => metrics(run).flatMap(line => line.evaluation?.loss ?? [])

const checkpoints = (run: string): string[] => readdirSync(join(path(run), 'checkpoints')).sort()

describe('an uninterrupted run', () => {
  beforeAll(async () => {
    const { code, stderr } = await runCli(train('whole'))
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  test('learns', () => {
    const losses = metrics('whole').flatMap(line =>
      line.losses ? [line.losses.crossEntropy ?? Number.NaN] : [],
    )
    expect(losses.length).toBe(80)
    expect(losses[0]).toBeCloseTo(Math.log(512), 1) // at first every token is as likely
    expect(Math.min(...evaluations('whole'))).toBeLessThan(Math.log(512) - 1)
  })

  test('describes itself', () => {
    const run = JSON.parse(readFileSync(join(path('whole'), 'run.json'), 'utf8'))
    expect(run).toMatchObject({ state: 'finished', step: 80, node: process.version })
    expect(readFileSync(join(path('whole'), 'recipe.yaml'), 'utf8')).toContain('vocab_size: 512')
    expect(readdirSync(path('whole')).some(name => name.startsWith('events.out.tfevents.'))).toBe(true)
  })

  test('keeps the newest checkpoints and the best', () => {
    expect(checkpoints('whole')).toEqual(['step-00000070', 'step-00000075', 'step-00000080'])
    expect(readdirSync(join(path('whole'), 'checkpoints', 'step-00000080')).sort()).toEqual([
      'checksums.json',
      'config.json',
      'model.safetensors',
      'optimizer.safetensors',
      'state.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ])
  })

  test('repeats bit for bit under its seed', async () => {
    await runCli(train('again'))
    expect(curve('again')).toEqual(curve('whole'))
  })

  test('its model evaluates, generates and verifies', async () => {
    const evaluated = await runCli([
      'eval',
      path('whole'),
      '--data',
      corpus,
      '--json',
      '--batches',
      '8',
      '--batch-size',
      '4',
      '--weights',
      'decoded', // as training computes: stored weights add up in an order of their own
    ])
    const { loss, domains } = JSON.parse(evaluated.stdout)
    expect(loss).toBe(Math.min(...evaluations('whole'))) // a run folder stands for its best checkpoint
    expect(domains.map((domain: { name: string }) => domain.name)).toContain('code')
    const generate = [
      'generate',
      path('whole'),
      '--prompt',
      'In the',
      '--max-new-tokens',
      '12',
      '--seed',
      '3',
    ]
    const [first, second] = [await runCli(generate), await runCli(generate)]
    expect(first.stdout.startsWith('In the')).toBe(true)
    expect(second.stdout).toBe(first.stdout)
    const long = await runCli([...generate, '--max-new-tokens', '500', '--json'])
    const { tokens, reason, model } = JSON.parse(long.stdout)
    expect({ reason, fits: tokens < 32, model }).toEqual({
      reason: 'positions',
      fits: true,
      model: expect.stringContaining('checkpoints/step-'),
    })
    expect(long.stderr).toContain(
      `note: ended after ${tokens} tokens: with the prompt they fill the model's 32`,
    )
    const checkpointsFolder = await runCli(['verify', join(path('whole'), 'checkpoints')])
    expect(checkpointsFolder.code).toBe(0)
    const wide = await runCli(['eval', path('whole'), '--data', corpus, '--sequence-length', '33'])
    expect(wide).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--sequence-length: 33 exceeds the model's 32 positions"),
    })
    const verified = await runCli(['verify', path('whole')])
    expect(verified.stdout).toContain('tensors fit config.json, every value is finite, checksums match')
  })
})

describe('a run that is killed', () => {
  test('at random moments, and resumed, gives bitwise the losses of an uninterrupted one', async () => {
    const out = 'killed'
    let kills = 0
    const seed = Date.now() % 2 ** 32
    const random = uniformSource(seed)
    onTestFailed(() => console.log(`kill moments came from seed ${seed}`))
    for (let code: number | null = null; code !== 0 && kills < 8; kills += code === 0 ? 0 : 1) {
      const resume = existsSync(join(path(out), 'run.json')) ? ['--resume'] : []
      const { child, ended } = startCli(train(out, ...resume))
      await progress(out, Math.ceil(random() * 12))
      // A step takes about 5 ms and every fifth writes a checkpoint: any moment of either may be hit.
      setTimeout(() => child.kill('SIGKILL'), random() * 40)
      const result = await ended
      code = result.code
      expect(result.stderr.replace(/^note: .* holds no usable checkpoint: starting over\n/, '')).toBe('')
    }
    expect(kills).toBeGreaterThan(2)
    await runCli(train(out, '--resume'))
    expect(curve(out)).toEqual(curve('whole'))
  })

  test.each([
    ['Ctrl-C', 'SIGINT', 130],
    ['kill', 'SIGTERM', 143],
    ['a terminal that closes', 'SIGHUP', 129],
  ] as const)('by %s, writes a checkpoint of the step it stopped at', async (_, signal, exitCode) => {
    const out = `stopped-${signal}`
    const { child, ended } = startCli(train(out, '--set', 'checkpoint.every=0', '--set', 'steps=100000'))
    await progress(out, 3)
    child.kill(signal)
    const { code, stdout } = await ended
    expect(code).toBe(exitCode)
    expectStopped(out)
    expect(stdout).toMatch(/next: node .*main\.js train --out .* --resume/)
  })

  test('by a reader that has gone, writes it too, and is silent', () => {
    const command = [cli, ...train('piped', '--json', '--set', 'steps=100000')].join("' '")
    const script = `'${process.execPath}' '${command}' | head -n 3; exit \${PIPESTATUS[0]}`
    const { status, stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' })
    expect({ status, stderr, lines: stdout.trim().split('\n').length }).toEqual({
      status: 141,
      stderr: '',
      lines: 3,
    })
    expectStopped('piped')
  })
})

function expectStopped(out: string): void {
  const run = JSON.parse(readFileSync(join(path(out), 'run.json'), 'utf8'))
  expect(run.state).toBe('interrupted')
  expect(checkpoints(out)).toContain(`step-${String(run.step).padStart(8, '0')}`)
}

test('runs that name no folder get one each, also in the same second', async () => {
  const anonymous = ['train', recipe, '--quiet', '--set', 'steps=1']
  const both = await Promise.all([runCli(anonymous, folder), runCli(anonymous, folder)])
  expect(both.map(({ code }) => code)).toEqual([0, 0])
  expect(readdirSync(join(folder, 'runs')).length).toBe(2)
  expect((await runCli([...anonymous, '--set', `data.path=${path('none')}`], folder)).code).toBe(2)
  expect(readdirSync(join(folder, 'runs')).length).toBe(2) // a run that never began leaves nothing
})

/** Waits until a run has written `count` lines of metrics more than when asked. */
async function progress(run: string, count: number): Promise<void> {
  const file = join(path(run), 'metrics.jsonl')
  const lines = (): number => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0)
  for (const start = lines(); lines() < start + count && lines() < 80; )
    await new Promise(resolve => setTimeout(resolve, 5))
}

describe('a corpus', () => {
  test('that moved is named anew, and the run goes on', async () => {
    cpSync(path('whole'), path('moving'), { recursive: true })
    cpSync(corpus, path('moved'), { recursive: true })
    const gone = await runCli(train('moving', '--resume', '--set', `data.path=${path('gone')}`))
    expect(gone).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('if it has moved, set this to its new place'),
    })
    const { code } = await runCli(
      train('moving', '--resume', '--set', 'steps=81', '--set', `data.path=${path('moved')}`),
    )
    expect(code).toBe(0)
    const saved = readFileSync(join(path('moving'), 'recipe.yaml'), 'utf8')
    expect(saved).toContain(`path: ${path('moved')}`)
  })

  test('named by a relative path is found from another folder', async () => {
    const start = train('relative', '--set', 'data.path=corpus', '--set', 'steps=2')
    expect((await runCli(start, folder)).code).toBe(0)
    const resume = ['train', '--out', path('relative'), '--resume', '--quiet', '--set', 'steps=3']
    expect(await runCli(resume, path('relative'))).toMatchObject({ code: 0, stderr: '' })
  })
})

describe('a damaged checkpoint', () => {
  test('counts no more when old ones are removed: what a resumed run saves stays', async () => {
    const out = 'outnumbered'
    cpSync(path('whole'), path(out), { recursive: true })
    for (const name of checkpoints(out).slice(1))
      truncateSync(join(path(out), 'checkpoints', name, 'state.json'), 3)
    const { code } = await runCli(
      train(out, '--resume', '--set', 'checkpoint.keepLast=1', '--set', 'checkpoint.keepBest=false'),
    )
    expect(code).toBe(0)
    expect(checkpoints(out).filter(name => /^step-\d+$/.test(name))).toEqual(['step-00000080'])
    expect((await runCli(['verify', join(path(out), 'checkpoints', 'step-00000080')])).code).toBe(0)
  })

  test.each([
    ['truncated', (file: string) => truncateSync(file, 1000)],
    ['changed', (file: string) => flipByte(file)],
  ])('that is %s is named and passed over for the one before it', async (_, damage) => {
    const out = `damaged-${Math.random()}`
    cpSync(path('whole'), path(out), { recursive: true })
    damage(join(path(out), 'checkpoints', 'step-00000080', 'model.safetensors'))
    const { code, stderr } = await runCli(train(out, '--resume'))
    expect(code).toBe(0)
    expect(stderr).toMatch(
      /note: skipped a damaged checkpoint: .*step-00000080\/model\.safetensors: (has \d+ bytes where|has changed)/,
    )
    expect(curve(out)).toEqual(curve('whole'))
  })

  test('without any whole one, starts over and says so', async () => {
    const out = 'hopeless'
    cpSync(path('whole'), path(out), { recursive: true })
    for (const name of checkpoints(out)) truncateSync(join(path(out), 'checkpoints', name, 'state.json'), 3)
    const { code, stderr } = await runCli(train(out, '--resume'))
    expect({ code, over: stderr.includes('holds no usable checkpoint: starting over') }).toEqual({
      code: 0,
      over: true,
    })
    expect(curve(out)).toEqual(curve('whole'))
  })
})

function flipByte(file: string): void {
  const bytes = readFileSync(file)
  bytes[bytes.length - 100] = (bytes[bytes.length - 100] ?? 0) ^ 1
  writeFileSync(file, bytes)
}

describe('the best checkpoint', () => {
  test('stays when newer ones are worse, and is what the run stands for, also after a resume', async () => {
    const out = 'overshot'
    const evaluated = async (): Promise<{ model: string; loss: number }> =>
      JSON.parse((await runCli(['eval', path(out), '--data', corpus, '--json'])).stdout)
    // The learning rate jumps after step 20: the best validation loss is the one before.
    await runCli(train(out, '--set', 'steps=20', '--set', 'schedule.kind=constant'))
    const { loss: best } = await evaluated()
    const worse = [
      '--set',
      'steps=60',
      '--set',
      'schedule.kind=constant',
      '--set',
      'optimizer.learningRate=1',
    ]
    expect((await runCli(train(out, '--resume', ...worse))).code).toBe(0)
    expect(checkpoints(out)).toEqual(['step-00000020', 'step-00000050', 'step-00000055', 'step-00000060'])
    const expected = { model: join(path(out), 'checkpoints', 'step-00000020'), loss: best }
    expect(await evaluated()).toMatchObject(expected)
    await runCli(train(out, '--resume', ...worse)) // with nothing left to do
    expect(await evaluated()).toMatchObject(expected)
  })
})

describe('what cannot work is refused and changes nothing', () => {
  test('two processes in one folder', async () => {
    const first = startCli(train('shared', '--set', 'steps=100000'))
    await progress('shared', 2)
    const { pid } = first.child
    const again = await runCli(train('shared'))
    expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('already holds a run') })
    const resumed = await runCli(train('shared', '--resume', '--set', 'steps=100000'))
    expect(resumed).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`is being trained by process ${pid}`),
    })
    first.child.kill('SIGINT')
    await first.ended
    expect(JSON.parse(readFileSync(join(path('shared'), 'run.json'), 'utf8')).state).toBe('interrupted')
    expect(existsSync(join(path('shared'), 'run.lock'))).toBe(false)
  })

  test('two processes that start in one folder at the same time: one trains', async () => {
    const both = await Promise.all([runCli(train('race')), runCli(train('race'))])
    expect(both.map(({ code }) => code).sort()).toEqual([0, 2])
    expect(curve('race')).toEqual(curve('whole'))
  })

  test('but a lock of a process that is gone, or of another that got its number, is none', async () => {
    const out = 'stale-lock'
    cpSync(path('whole'), path(out), { recursive: true })
    const init = JSON.stringify({ pid: 1, host: hostname(), started: '0', boot: 'x' })
    for (const owner of [init, 'torn']) {
      writeFileSync(join(path(out), 'run.lock'), owner)
      expect((await runCli(train(out, '--resume'))).code).toBe(0)
    }
  })

  test('resuming onto another corpus of the same name', async () => {
    const moved = `${corpus}-before`
    cpSync(corpus, moved, { recursive: true })
    const other = [
      '--size',
      '40kB',
      '--seed',
      '7',
      '--tokenizer',
      'bpe:512',
      '--out',
      corpus,
      '--force',
      '--quiet',
    ]
    expect((await runCli(['data', 'prepare', '--sample', ...other])).code).toBe(0)
    const { code, stderr } = await runCli(train('whole', '--resume', '--set', 'steps=90'))
    expect(stderr).toContain('data.path: the corpus has changed since the run was started')
    expect(code).toBe(2)
    rmSync(corpus, { recursive: true })
    cpSync(moved, corpus, { recursive: true })
  })

  test('but a folder left by a run that was killed at once is no obstacle', async () => {
    mkdirSync(join(path('stillborn'), 'checkpoints'), { recursive: true })
    writeFileSync(join(path('stillborn'), 'recipe.yaml'), 'torn')
    writeFileSync(join(path('stillborn'), 'run.lock.123'), '')
    expect((await runCli(train('stillborn', '--set', 'steps=2'))).code).toBe(0)
  })

  test('a folder that holds a run, or anything else', async () => {
    const before = curve('whole')
    const { code, stderr } = await runCli(train('whole'))
    expect(code).toBe(2)
    expect(stderr).toMatch(/^error: --out: .*whole already holds a run: choose another folder, or resume it/)
    expect(curve('whole')).toEqual(before)
    mkdirSync(path('full'))
    appendFileSync(join(path('full'), 'mine.txt'), 'x')
    expect((await runCli(train('full'))).stderr).toMatch(/is not empty: choose another folder\n$/)
  })

  test('resuming with another recipe, or where there is nothing', async () => {
    const before = readFileSync(join(path('whole'), 'run.json'), 'utf8')
    const refused = async (setting: string, message: string): Promise<void> => {
      const { code, stderr } = await runCli(train('whole', '--resume', '--set', setting))
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(message) })
    }
    await refused('seed=9', `error: seed: 9 here, but 1 in ${path('whole')}: leave it as it was`)
    await refused('optimizer.betas=[0.8, 0.9]', 'error: optimizer.betas: [0.8,0.9] here, but [0.9,0.95] in')
    await refused('steps=79', 'error: steps: 79 is below the 80 steps that')
    expect(readFileSync(join(path('whole'), 'run.json'), 'utf8')).toBe(before)
    const nothing = await runCli(['train', '--out', path('nowhere'), '--resume'])
    expect(nothing).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('does not exist: leave it out to start a run'),
    })
    expect(existsSync(path('nowhere'))).toBe(false)
    const strange = await runCli(['train', '--out', folder, '--resume'])
    expect(strange).toMatchObject({ code: 2, stderr: expect.stringContaining('holds no run to resume') })
  })

  test('more memory than there is', async () => {
    const { code, stderr } = await runCli(
      train('huge', '--set', 'model.hidden_size=65536', '--set', 'model.num_hidden_layers=400'),
    )
    expect(code).toBe(2)
    expect(stderr).toMatch(
      /^error: model: training takes about [\d.]+ GiB of memory \(.* for the optimizer, .*\), .* are free: lower model\.hidden_size/,
    )
    expect(existsSync(path('huge'))).toBe(false)
  })

  test('a first step that fails: the folder is free for the next try', async () => {
    const step = vi.spyOn(Trainer.prototype, 'step').mockImplementation(() => {
      throw new Error('out of order')
    })
    await expect(async () => {
      for await (const _ of trainRecipe(loadRecipe(recipe), { out: path('first-step') }));
    }).rejects.toThrow('out of order')
    step.mockRestore()
    expect(existsSync(path('first-step'))).toBe(false)
  })

  test('a corpus that is missing', async () => {
    const { code, stderr } = await runCli(train('lost', '--set', `data.path=${path('none')}`))
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('is not a corpus') })
    expect(stderr).toMatch(/make one with 'node .*main\.js data prepare --out/)
  })
})

test('gradients that stay NaN end the run, naming the step and the remedy', async () => {
  const { code, stderr } = await runCli(
    train('diverged', '--set', 'optimizer.learningRate=1e30', '--set', 'clip=null', '--set', 'maxBadSteps=3'),
  )
  expect(code).toBe(1)
  expect(stderr).toMatch(/note: step \d+ skipped: its gradient holds NaN or infinity/)
  expect(stderr).toMatch(
    /error: training diverged: 3 steps in a row had NaN or infinite gradients .* resume .* with optimizer\.learningRate lower/,
  )
  expect(JSON.parse(readFileSync(join(path('diverged'), 'run.json'), 'utf8')).state).toBe('failed')
})

test('a disk that fills up while checkpointing leaves the older checkpoint as it was', async () => {
  const out = 'small-disk'
  expect((await runCli(train(out, '--set', 'steps=5'))).code).toBe(0)
  const limit = ['--fsize=100000', process.execPath, cli]
  const limited = spawnSync('prlimit', [...limit, ...train(out, '--resume', '--set', 'steps=10')], {
    encoding: 'utf8',
    env: { ...process.env, SWITCHYARD_THREADS: '1' },
  })
  expect(limited.stderr).toMatch(
    /^error: no room to write \(EFBIG\): free some space and go on with '.*--resume'/,
  )
  expect(limited.status).toBe(1)
  expect(checkpoints(out)).toEqual(['step-00000005'])
  expect((await runCli(['verify', join(path(out), 'checkpoints', 'step-00000005')])).code).toBe(0)
})

// The command line: help, exit codes, one line per mistake.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type TensorSource, writeSafetensors } from '../src/formats/index.ts'
import { main, runCli, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const fixture = (name: string): string => join(import.meta.dirname, 'fixtures', name)
const commands = [
  'data prepare',
  'data info',
  'train',
  'finetune',
  'eval',
  'generate',
  'serve',
  'init',
  'inspect',
  'convert',
  'quantize',
  'verify',
  'routing trace',
  'hints',
  'simulate-cache',
  'doctor',
]

describe('help', () => {
  test.each(commands)('of %s has an example and fits a terminal', async command => {
    const { code, stdout } = await runCli([...command.split(' '), '--help'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/Examples?:\n {2}switchyard /)
    expect(Math.max(...stdout.split('\n').map(line => line.length))).toBeLessThanOrEqual(80)
  })

  test('marks what is required, and shows defaults as they are typed', async () => {
    const { stdout } = await runCli(['data', 'prepare', '--help'])
    expect(stdout).toContain('folder of the corpus (required)')
    expect(stdout).toContain('(default: data/cache)')
  })

  test('of the whole lists every command', async () => {
    const { code, stdout } = await runCli(['--help'])
    expect(code).toBe(0)
    for (const command of commands) expect(stdout).toContain(` ${command.split(' ')[0]} `)
  })

  test('and version load neither the addon nor zod', () => {
    const lazy = ['zod', 'yaml', 'switchyard.node', 'tokenizers', 'hyparquet']
    // Whatever main.js imports statically is loaded for --help too.
    const seen = staticImports(join(import.meta.dirname, '../dist/cli/main.js'))
    expect(seen.size).toBeGreaterThan(8)
    expect([...seen].filter(name => lazy.some(part => name === part || name.endsWith(part)))).toEqual([])
  })
})

/** Every module that a built file pulls in by static imports. */
function staticImports(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen
  seen.add(file)
  for (const [, name = ''] of readFileSync(file, 'utf8').matchAll(
    /^(?:import|export)\b.* from ['"]([^'"]+)['"]/gm,
  )) {
    if (name.startsWith('.')) staticImports(join(file, '..', name), seen)
    else seen.add(name)
  }
  return seen
}

describe('inspect', () => {
  test('--plan says what a rank takes and what a step costs, and without --mesh suggests one', async () => {
    const plan = ['inspect', 'preset:mixtral-8x7b', '--plan', '--cluster', 'h100:8x8']
    const given = await runCli([...plan, '--mesh', 'expert=8,pipeline=4,data=2'])
    expect(given.code).toBe(0)
    expect(given.stdout).toMatch(
      /^expert=8,data=2,pipeline=4: 256 sequences of 4,096 tokens, 16 micro-batches of 1/,
    )
    expect(given.stdout).toMatch(/ranks of stage 3 .*\n/)
    expect(given.stdout).toMatch(/rows to experts and back +all-to-all along expert +8 +512 /)
    const { plans } = JSON.parse((await runCli([...plan, '--json'])).stdout)
    expect(plans[0].time.total).toBeLessThanOrEqual(plans[1].time.total)
  })

  test('counts Mixtral 8x7B from its config alone', async () => {
    const config = {
      model_type: 'mixtral',
      vocab_size: 32000,
      hidden_size: 4096,
      intermediate_size: 14336,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      num_local_experts: 8,
      num_experts_per_tok: 2,
      max_position_embeddings: 32768,
    }
    const file = join(folder, 'config.json')
    writeFileSync(file, JSON.stringify(config))
    const { code, stdout } = await runCli(['inspect', file])
    expect(code).toBe(0)
    expect(stdout).toContain('46,702,792,704 total')
    expect(stdout).toContain('12,879,925,248 active per token')
    const json = JSON.parse((await runCli(['inspect', file, '--json'])).stdout)
    expect(json.parameters.total).toBe(46_702_792_704)
    const values = 2 * 32 * 8 * 128 // keys and values of a token
    for (const [kv, bytes] of [
      ['f16', 2],
      ['q8_0', 34 / 32],
    ] as const) {
      const { memory } = JSON.parse((await runCli(['inspect', file, '--json', '--kv', kv])).stdout)
      expect(memory.cachePerToken).toBe(bytes * values)
    }
  })
})

describe('doctor', () => {
  test('shows what computes here, and how fast', async () => {
    const { code, stdout } = await runCli(['doctor', '--json'])
    expect(code).toBe(0)
    const machine = JSON.parse(stdout)
    expect(machine).toMatchObject({ threads: { operators: 1 }, gemm: 'libtorch' })
    expect((await runCli(['doctor', '--quiet'])).stdout).toMatch(/^change: .*SWITCHYARD_GEMM=libtorch/m)
    for (const { one, all } of [...machine.products, machine.read]) {
      expect(Math.min(one, all)).toBeGreaterThan(1e6)
    }
  })
})

describe('verify', () => {
  const model = fixture('mixtral')
  const reference = join(model, 'reference.safetensors')

  test('exits with 0 within the tolerance and with 1 beyond it', async () => {
    expect((await runCli(['verify', model, '--reference', reference])).code).toBe(0)
    const strict = await runCli(['verify', model, '--reference', reference, '--tolerance', '1e-12'])
    expect(strict).toMatchObject({ code: 1, stdout: expect.stringContaining('differs  logits') })
  })

  test('shows another shape as such', async () => {
    const other = join(folder, 'other.safetensors')
    const tensor = (name: string, dtype: 'I64' | 'F32', data: NodeJS.TypedArray): TensorSource => ({
      name,
      dtype,
      shape: [1, data.length],
      bytes: () => new Uint8Array(data.buffer),
    })
    const ids = tensor('input_ids', 'I64', BigInt64Array.of(1n, 2n, 3n))
    writeSafetensors(other, [ids, tensor('logits', 'F32', Float32Array.of(0.5))])
    const { code, stdout } = await runCli(['verify', model, '--reference', other])
    expect(code).toBe(1)
    expect(stdout).toMatch(/differs {2}logits +shape \[1, 3, 96\], recorded \[1, 1\]/)
    expect(stdout).not.toContain('NaN')
  })

  test('replays a training run', async () => {
    const run = fixture('train_mixtral')
    const { code, stdout } = await runCli([
      'verify',
      run,
      '--reference',
      join(run, 'reference.safetensors'),
      '--train',
    ])
    expect(code).toBe(0)
    expect(stdout).toMatch(/ok {2}loss +\d/)
    expect(stdout).toContain('grad.model.layers.1.mlp.experts.gate_up_proj')
  })

  test('names a tensor that holds NaN', async () => {
    const copy = join(folder, 'nan')
    cpSync(model, copy, { recursive: true })
    const file = join(copy, 'model.safetensors')
    const bytes = readFileSync(file)
    bytes.writeFloatLE(Number.NaN, bytes.length - 4) // the last tensor by name
    writeFileSync(file, bytes)
    expect(await runCli(['verify', copy])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('NaN or infinite values in model.norm.weight'),
    })
  })

  test('names a truncated file', async () => {
    const copy = join(folder, 'short')
    cpSync(model, copy, { recursive: true })
    truncateSync(join(copy, 'model.safetensors'), 100_000)
    const { code, stderr } = await runCli(['verify', copy])
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^error: .*short\/model\.safetensors: tensor '.*': bytes .* lie outside .* the file is truncated\n$/,
    )
  })
})

describe('a mistake gets one line, an exit code, and no stack trace', () => {
  const model = fixture('mixtral')
  test.each([
    [['inspect', 'preset:x'], 2, 'preset:x: is no preset; there are mixtral-8x7b, '],
    [
      ['inspect', 'nowhere'],
      2,
      'nowhere: no such file or folder, nor a model that was downloaded; name a model folder',
    ],
    [['inspect', model, '--dtype', 'f8'], 2, "--dtype: 'f8' is not one of f32, bf16, f16, f64"],
    [
      ['inspect', 'preset:mixtral-8x7b', '--plan', '--mesh', 'expert=16'],
      2,
      '--mesh: expert: 16 ranks, more than the 8 experts: take 2, 4, 8',
    ],
    [
      ['inspect', 'preset:mixtral-8x7b', '--plan', '--mesh', 'data=2', '--cluster', 'h100:8x8'],
      2,
      '--mesh: 2 ranks, but h100:8x8 has 64: their product must be 64',
    ],
    [
      ['inspect', 'preset:mixtral-8x7b', '--plan', '--cluster', 'h100:1x1'],
      2,
      '--cluster: no mesh of h100:1x1 divides the model and a batch of 256 and fits in memory: take more nodes, ',
    ],
    [['inspect', 'preset:mixtral-8x7b', '--mesh', 'data=2'], 2, '--mesh: is of a plan: give --plan too'],
    [['inspect', model, '--context', 'long'], 2, "--context: must be a number, got 'long'"],
    [['generate', model, '--prompt', 'x'], 1, 'tokenizer.json: cannot be read (ENOENT)'],
    [['generate', model], 2, "required option '--prompt <text>' not specified"],
    [
      ['generate', model, '--prompt', 'x', '--device', 'tpu'],
      2,
      "--device: must be cpu, cuda or cuda:N, got 'tpu'",
    ],
    [
      ['generate', model, '--prompt', 'x', '--dtype', 'f32', '--memory', '2GiB'],
      2,
      '--memory: is for weights as files have them: leave --device, --dtype and --weights out',
    ],
    [['generate', model, '--prompt', 'x', '--kv', 'q4'], 2, "--kv: must be one of f32, f16, q8_0, got 'q4'"],
    [
      ['chat', model, '--kv', 'q8_0', '--device', 'cuda'],
      2,
      '--kv: q8_0 is not for a model that computes in bf16 on cuda: leave out --kv, or --device and --dtype',
    ],
    [
      ['generate', model, '--prompt', 'x', '--dtype', 'f16'],
      2,
      '--dtype: f16 needs CUDA: a CPU has no products in it; use f32',
    ],
    [
      ['generate', model, '--prompt', 'x', '--temperature', 'hot'],
      2,
      "--temperature: must be a number of at least 0, got 'hot'",
    ],
    [
      ['generate', model, '--prompt', 'x', '--top-k', '1.5'],
      2,
      "--top-k: must be a whole number of at least 0, got '1.5'",
    ],
    [
      ['generate', model, '--prompt', 'x', '--prefetch', 'history'],
      2,
      '--prefetch: is for experts that come from the file: give --memory too',
    ],
    [
      ['chat', model, '--memory', '2GiB', '--prefetch', 'hints:'],
      2,
      "--prefetch: must be router, history, hints:FILE or off, got 'hints:'",
    ],
    [
      ['generate', model, '--prompt', 'x', '--on-miss', 'q4_0'],
      2,
      '--on-miss: is for experts that come from the file: give --memory too',
    ],
    [
      ['eval', model, '--data', 'x', '--memory', '2GiB', '--on-miss', 'wait'],
      2,
      "--on-miss: must be read, resident or a type of copies (q8_0, q6_k, q5_k, q4_k, q4_0, iq4_nl, iq4_xs, mxfp4, q3_k, q2_k), got 'wait'",
    ],
    [
      ['chat', model, '--memory', '2GiB', '--prefetch', 'router', '--on-miss', 'resident'],
      2,
      '--prefetch: hides the wait for experts, and with --on-miss nobody waits: leave one out',
    ],
    [
      ['generate', model, '--prompt', 'x', '--memory', '2GiB', '--device-memory', '1GiB'],
      2,
      '--device-memory: is for a model that computes elsewhere: give --device cuda too',
    ],
    [
      ['generate', model, '--prompt', 'x', '--device', 'cuda', '--device-memory', '1GiB'],
      2,
      '--device-memory: is for experts that come from host memory: give --memory too',
    ],
    [
      ['chat', model, '--device', 'cuda', '--memory', '2GiB', '--prefetch', 'router'],
      2,
      '--prefetch: is for models that compute on the CPU: leave it or --device out',
    ],
    [
      ['inspect', model, '--on-miss', 'q4_0'],
      2,
      '--on-miss: is for experts that come from the file: give --memory too',
    ],
    [
      ['convert', model, '--out', join(model, 'config.json')],
      2,
      'config.json exists: remove it, or name another place',
    ],
    [['hints', 'none', '--out', 'o'], 1, 'none: cannot be opened (ENOENT)'],
    [
      ['hints', 'none', '--out', join(model, 'config.json')],
      2,
      'config.json is there, and holds no hints: remove it, or name another file',
    ],
    [['train'], 2, 'recipe: is missing; see recipes/ for examples'],
    [['train', '--resume'], 2, '--resume: needs --out, the folder of the run'],
    [['train', 'none.yaml'], 2, 'none.yaml: no such recipe; see recipes/ for examples'],
    [['eval', model, '--data', 'nowhere'], 2, 'nowhere is not a corpus (it has no corpus.json)'],
    [
      ['routing', 'trace', model, '--out', 'o'],
      2,
      '--data: is missing: name a corpus, or a file with --text',
    ],
    [['routing', 'trace', model, '--data', 'nowhere', '--out', 'o'], 2, 'nowhere is not a corpus'],
    [
      ['routing', 'trace', model, '--text', 'none', '--out', join(model, 'config.json')],
      2,
      'config.json is there, and is no recording: remove it, or name another file',
    ],
    [['simulate-cache', 'none'], 1, 'none: cannot be opened (ENOENT)'],
    [
      ['simulate-cache', join(model, 'config.json')],
      1,
      "config.json: is no recording of routing; make one with 'switchyard routing trace'",
    ],
    [
      ['simulate-cache', 'none', '--policy', 'lru,clock'],
      2,
      "--policy: 'clock' is not one of lru, lfu, lfru, least-stale, activation-aware, static, random, belady",
    ],
    [['simulate-cache', 'none', '--capacity', '2'], 2, '--capacity: must be shares above 0%'],
    [['verify', model, '--train'], 2, '--train: needs --reference FILE, the recording to compare with'],
    [['verify', model, '--tolerance', '0'], 2, "--tolerance: must be a number above 0, got '0'"],
    [['verify', model, '--reference', 'none'], 2, '--reference: none: no such file'],
    [['data', 'prepare', '--from', 'none', '--out', 'o'], 2, '--from: none: no such file or folder'],
    ...['--tokenizer=bytes', '--domain=x', '--size=8MB'].map((flag): [string[], number, string] => [
      ['data', 'prepare', '--from', 'none', '--for', model, '--out', 'o', flag],
      2,
      "option '--for <model>' cannot be used with option '--",
    ]),
    [['convert', model, '--out', 'o.gguf', '--experts', 'stacked'], 2, '--experts: is for folders'],
    [['convert', model, '--out', 'o.gguf', '--shard-size', '1MB'], 2, '--shard-size: is for folders'],
    [
      ['generate', model, '--prompt', 'x', '--top-p', '2'],
      2,
      '--top-p: must be a number above 0 and at most 1',
    ],
    [['verify', model, '--reference', join(model, 'config.json')], 1, 'config.json: header says it is'],
    [['data', 'info', 'nowhere'], 2, 'nowhere is not a corpus'],
    [['train', folder], 2, 'cannot be read as a recipe (EISDIR); see recipes/ for examples'],
    [['fly'], 2, "unknown command 'fly'"],
    [['train', '--fast'], 2, "unknown option '--fast'"],
  ])('%j', async (args, code, message) => {
    const result = await runCli(args)
    expect(result.code).toBe(code)
    expect(result.stderr).toContain(message)
    expect(result.stderr).toMatch(/^error: /)
    expect(result.stderr).not.toMatch(/\n\s+at /)
    expect(result.stderr.trim().split('\n').length).toBeLessThanOrEqual(2) // commander adds a hint
  })

  test('SWITCHYARD_THREADS that is no number', () => {
    const env = { ...process.env, SWITCHYARD_THREADS: 'all' }
    const { status, stderr } = spawnSync(process.execPath, [main, 'verify', model], { env, encoding: 'utf8' })
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: "error: SWITCHYARD_THREADS: must be a whole number from 1 to 1024, got 'all'\n",
    })
  })

  test('--verbose adds the stack trace', async () => {
    expect((await runCli(['inspect', 'nowhere', '--verbose'])).stderr).toMatch(/\n\s+at /)
  })

  test('a model and a corpus of different tokenizers are told apart', async () => {
    const corpus = join(folder, 'corpus')
    await runCli([
      'data',
      'prepare',
      '--sample',
      '--size',
      '40kB',
      '--tokenizer',
      'bytes',
      '--out',
      corpus,
      '--quiet',
    ])
    expect(existsSync(join(corpus, 'corpus.json'))).toBe(true)
    const vocabulary = await runCli(['eval', model, '--data', corpus])
    expect(vocabulary).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('tokens, but the model knows only 96'),
    })
    const copy = join(folder, 'with-tokenizer')
    cpSync(model, copy, { recursive: true })
    writeFileSync(join(copy, 'tokenizer.json'), '{}')
    const other = await runCli(['eval', copy, '--data', corpus])
    expect(other).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('differ: prepare the text again with --tokenizer'),
    })
  })
})

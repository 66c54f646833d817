// The process really stays within a budget: measured from outside, through a long prompt and a text.
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import {
  createModel,
  noTokenizer,
  openSource,
  parseModelConfig,
  parseTypeRules,
  saveModel,
  writeGgufModel,
} from '../src/models/index.ts'
import { manualSeed } from '../src/torch/index.ts'

const scratch = mkdtempSync(join(tmpdir(), 'switchyard-budget-'))
afterAll(() => rmSync(scratch, { recursive: true }))

/** A model whose experts, 200 MB of them, are most of it. */
function model(): string {
  const sizes = { vocab_size: 256, hidden_size: 512, intermediate_size: 1024, num_hidden_layers: 4 }
  const config = parseModelConfig({
    model_type: 'mixtral',
    ...sizes,
    num_attention_heads: 8,
    num_local_experts: 32,
  })
  const folder = join(scratch, 'folder')
  manualSeed(1)
  using made = createModel(config)
  saveModel(folder, made, config)
  const file = join(scratch, 'model.gguf')
  writeGgufModel(openSource(folder), file, {
    rules: parseTypeRules('q8_0', 'types'),
    name: 'budget',
    tokenizer: noTokenizer,
  })
  rmSync(folder, { recursive: true })
  return file
}

/** What a process that runs the model within a budget peaked at; 0: with all experts. */
async function run(file: string, memory: number): Promise<{ peak: number; ids: number[] }> {
  const script = `
    import { readFileSync } from 'node:fs'
    import { Generation, openModel } from './src/models/index.ts'
    import { loadTiered } from './src/engine/index.ts'
    const prompt = Array.from({ length: 1500 }, (_, i) => (13 * i) % 251)
    const budget = { memory: ${memory}, context: prompt.length + 16 }
    const opened = openModel(${JSON.stringify(file)})
    const model = ${memory} > 0
      ? loadTiered(opened.source, budget).tiered.model
      : opened.load({ kind: 'decoder', weights: 'stored' })
    const generation = new Generation(model, [prompt], { temperature: 0, stopIds: [], maxNewTokens: 16 })
    const ids = []
    while (!generation.isOver) ids.push(...generation.step().map(token => token.id))
    const status = readFileSync('/proc/self/status', 'utf8') // resourceUsage() begins with what the parent had
    console.log(JSON.stringify({ peak: 1024 * Number(/VmHWM:\\s+(\\d+)/.exec(status)[1]), ids }))`
  const args = ['--import', 'tsx', '--input-type=module', '-e', script]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return JSON.parse(stdout)
}

test('a process stays within its budget, and writes what it writes without one', async () => {
  const file = model()
  const all = await run(file, 0)
  for (const memory of [600e6, 500e6]) {
    const { peak, ids } = await run(file, memory)
    expect(ids).toEqual(all.ids)
    expect(peak).toBeLessThan(1.03 * memory)
    expect(peak).toBeLessThan(all.peak)
  }
}, 120_000)

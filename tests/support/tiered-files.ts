// Files of models whose experts are read one by one, of sizes that blocks divide.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  createModel,
  noTokenizer,
  openSource,
  parseModelConfig,
  parseTypeRules,
  saveModel,
  writeGgufModel,
} from '../../src/models/index.ts'
import { manualSeed } from '../../src/torch/index.ts'

export const fixture = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))

/** A folder with a model of random weights, like a fixture's but for its widths. */
export function widened(name: string, scratch: string): string {
  const json = JSON.parse(readFileSync(join(fixture(name), 'config.json'), 'utf8'))
  const sizes = { num_local_experts: 8, hidden_size: 256, intermediate_size: 256, moe_intermediate_size: 256 }
  const config = parseModelConfig({ ...json, ...sizes, mlp_only_layers: [] }, name)
  const folder = join(scratch, `${name}-wide`)
  manualSeed(1)
  using model = createModel(config)
  saveModel(folder, model, config)
  return folder
}

/** The same in a GGUF file. */
export function quantized(name: string, type: string, scratch: string): string {
  const file = join(scratch, `${name}-${type}.gguf`)
  writeGgufModel(openSource(widened(name, scratch)), file, {
    rules: parseTypeRules(type, 'types'),
    name,
    tokenizer: noTokenizer,
  })
  return file
}

// Small models with a tokenizer and a chat template, as a server has them: weights in Q8_0, random but lively.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { byteTokenizer, byteTokenizerFiles } from '../../src/data/index.ts'
import {
  createModel,
  openSource,
  parseModelConfig,
  parseTypeRules,
  saveModel,
  tokenizerMetadata,
  writeGgufModel,
} from '../../src/models/index.ts'
import { manualSeed, noGrad } from '../../src/torch/index.ts'

export const chatTemplate = `{% for message in messages %}[{{ message.role }}] {{ message.content }}
{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}`

export interface ServedOptions {
  /** Fields of config.json. */
  fields?: Record<string, unknown>
  template?: string | null
}

/** Writes the model into a folder, and the same with weights in Q8_0 beside it. */
export function writeServedModel(
  folder: string,
  { fields = {}, template = chatTemplate }: ServedOptions = {},
): { folder: string; gguf: string } {
  const { vocabSize, specialIds } = byteTokenizer()
  const sizes = { vocab_size: vocabSize, hidden_size: 64, intermediate_size: 64, num_hidden_layers: 2 }
  const heads = { num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 1024 }
  const experts = { num_experts: 4, num_experts_per_tok: 2, eos_token_id: specialIds.eos }
  const config = parseModelConfig({ model_type: 'olmoe', ...sizes, ...heads, ...experts, ...fields }, 'test')
  const weights = join(folder, 'model')
  mkdirSync(weights, { recursive: true })
  manualSeed(5)
  using model = createModel(config)
  noGrad(() => {
    for (const parameter of model.parameters()) if (parameter.ndim > 1) parameter.mul_(5)
  })
  saveModel(weights, model, config)
  for (const [name, content] of Object.entries(byteTokenizerFiles()))
    writeFileSync(join(weights, name), content)
  if (template !== null) writeFileSync(join(weights, 'chat_template.jinja'), template)
  const gguf = join(folder, 'model.gguf')
  const rules = parseTypeRules('q8_0', 'test')
  writeGgufModel(openSource(weights), gguf, {
    rules,
    name: 'test',
    tokenizer: tokenizerMetadata(weights, vocabSize),
  })
  return { folder: weights, gguf }
}

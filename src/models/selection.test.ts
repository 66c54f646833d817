import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { declareModel } from './architectures/create.ts'
import { parseModelConfig } from './architectures/table.ts'
import { readModelConfig } from './files/folder.ts'
import { select, selectable, selectionSchema } from './selection.ts'

const config = parseModelConfig({
  model_type: 'switchyard_moe',
  vocab_size: 32,
  hidden_size: 8,
  intermediate_size: 8,
  num_hidden_layers: 3,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  num_local_experts: 4,
  moe_layers: [0, 2],
  shared_intermediate_size: 8,
  router: { kind: 'top-k', k: 2 },
})
const tensors = selectable(declareModel(config))
const chosen = (text: string): [string, unknown][] => [...select(selectionSchema.parse(text), tensors)]
const names = (text: string): string[] => chosen(text).map(([name]) => name)

describe('words', () => {
  test('all is every parameter', () => {
    expect(names('all')).toEqual([...tensors.keys()])
  })

  test('what is not of experts and their routers, and what is, are all without the other', () => {
    expect([...names('non-moe'), ...names('moe')].sort()).toEqual([...tensors.keys()].sort())
    expect(names('moe').every(name => name.includes('.mlp.'))).toBe(true)
    expect(names('all,-non-moe')).toEqual(names('moe'))
  })

  test('a - first takes from all', () => {
    expect(names('-router')).toEqual([...tensors.keys()].filter(name => !name.endsWith('mlp.gate.weight')))
  })

  test('words add up, in any order', () => {
    expect(new Set(names('attention,head'))).toEqual(new Set(names('head,attention')))
    expect(names('attention')).toHaveLength(3 * 4)
  })
})

describe('experts', () => {
  test('of one layer', () => {
    expect(chosen('experts:2')).toEqual([
      ['model.layers.2.mlp.experts.gate_up_proj', 'all'],
      ['model.layers.2.mlp.experts.down_proj', 'all'],
    ])
  })

  test('one by one; all of them are all', () => {
    expect(chosen('experts:0.3,experts:0.1').map(([, share]) => share)).toEqual([
      [1, 3],
      [1, 3],
    ])
    expect(chosen('experts:0.0,experts:0.1,experts:0.2,experts:0.3')[0]?.[1]).toBe('all')
    expect(chosen('experts:0,-experts:0.2')[0]?.[1]).toEqual([0, 1, 3])
  })
})

describe('what is refused, by its word', () => {
  test.each([
    ['expert', "'expert' is no part of a model: name all, non-moe"],
    ['router:1', "'router:1' is no part of a model"],
    ['experts:1', "'experts:1' is not there: layers with experts are 0, 2"],
    ['experts:0.4', "'experts:0.4' is not there: layer 0 has experts 0 to 3"],
    ['head,-head', 'head,-head leaves nothing of this model'],
    ['adapter', 'adapter leaves nothing of this model'],
  ])('%s', (text, message) => {
    expect(() => chosen(text)).toThrow(message)
  })

  test('experts of a dense model', () => {
    const mistral = parseModelConfig({ ...config, model_type: 'mistral' })
    expect(() => select(['experts:0'], selectable(declareModel(mistral)))).toThrow(
      'this model has no experts',
    )
  })
})

test.each(['gpt_oss', 'deepseek_v3', 'qwen2_moe'])('every parameter of %s is in one of the sets', name => {
  const folder = fileURLToPath(new URL(`../../tests/fixtures/${name}`, import.meta.url))
  const all = selectable(declareModel(readModelConfig(folder)))
  const parts = ['moe', 'non-moe'].flatMap(word => [...select([word], all).keys()])
  expect(parts.sort()).toEqual([...all.keys()].sort())
})

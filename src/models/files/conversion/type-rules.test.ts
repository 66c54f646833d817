// Which type of GGUF each tensor gets.

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Declaration } from '../../../nn/index.ts'
import { declarationsOf, parseModelConfig } from '../../index.ts'
import { parseTypeRules, typeFor } from './type-rules.ts'

const gptOss = new URL('../../../../tests/fixtures/gpt_oss/config.json', import.meta.url)

describe('type rules', () => {
  test('a type for all, types for some, the router apart', () => {
    expect(parseTypeRules('q8_0,experts=q4_k', 'x')).toEqual({
      embedding: 'Q8_0',
      attention: 'Q8_0',
      router: 'F32',
      experts: 'Q4_K',
      shared: 'Q8_0',
      dense: 'Q8_0',
      head: 'Q8_0',
    })
    expect(parseTypeRules('router=f16', 'x')).toMatchObject({ router: 'F16', experts: 'F16' })
  })

  test('rows that are no whole blocks fall back, vectors are F32', () => {
    const rules = parseTypeRules('q4_k', 'x')
    const declared = declarationsOf(parseModelConfig(JSON.parse(readFileSync(gptOss, 'utf8')), 'x'))
    const typeOf = (path: string, shape: number[]): string =>
      typeFor(declared.get(path) as Declaration, shape, rules)
    expect(typeOf('model.layers.0.mlp.experts.down_proj', [4, 8, 512])).toBe('Q4_K')
    expect(typeOf('model.layers.0.mlp.experts.down_proj', [4, 8, 96])).toBe('Q8_0')
    expect(typeOf('model.layers.0.mlp.experts.down_proj', [4, 8, 20])).toBe('F16')
    expect(typeOf('model.norm.weight', [512])).toBe('F32')
    expect(typeOf('model.layers.0.mlp.experts.gate_up_proj_bias', [4, 512])).toBe('F32')
  })

  test.each([
    ['q4_z', "'q4_z' is not a type that can be written; these are: f32, f16, bf16"],
    ['expert=q8_0', "'expert' is not one of embedding, attention, router"],
    ['q5_0', "'q5_0' is not a type that can be written"],
  ])('%s is refused', (text, message) => expect(() => parseTypeRules(text, '--type')).toThrow(message))
})

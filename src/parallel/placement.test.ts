// Which part of each parameter a rank holds, over the recorded checkpoints' architectures.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { declarationsOf, parseModelConfig } from '../models/index.ts'
import { meshSizes } from './mesh.ts'
import { type Division, shardingOf, shardShape, stageLayers } from './placement.ts'

const declarations = (type: string) => {
  const file = new URL(`../../tests/fixtures/${type}/config.json`, import.meta.url)
  return declarationsOf(parseModelConfig(JSON.parse(readFileSync(fileURLToPath(file), 'utf8'))))
}

const all = meshSizes({ expert: 2, tensor: 2, data: 2, shard: 2, pipeline: 2 })

/** What is divided in the layer that ends in 1, by its path within the layer. */
function divided(type: string, sizes = all): Record<string, Division[]> {
  const rows = [...declarations(type)].map(([path, declaration]): [string, Division[]] => [
    path,
    shardingOf(path, declaration, sizes),
  ])
  const layer = /^model\.layers\.1\.(?:mlp\.experts|self_attn)\./
  expect(
    rows.filter(([path, each]) => each.length > 0 && !/layers\.\d+\.(mlp\.experts|self_attn)\./.test(path)),
  ).toEqual([])
  return Object.fromEntries(
    rows.flatMap(([path, each]) =>
      layer.test(path) && each.length > 0 ? [[path.replace(layer, ''), each]] : [],
    ),
  )
}

const heads: Division[] = [{ axis: 'tensor', dimension: 0 }]
const output: Division[] = [{ axis: 'tensor', dimension: 1 }]
const experts: Division = { axis: 'expert', dimension: 0 }
const stacks = {
  gate_up_proj: [experts, { axis: 'tensor', dimension: 1, blocks: 2 }],
  down_proj: [experts, { axis: 'tensor', dimension: 2 }],
}
const grouped = {
  'q_proj.weight': heads,
  'k_proj.weight': heads,
  'v_proj.weight': heads,
  'o_proj.weight': output,
}

describe('what is divided', () => {
  test('of Mixtral: heads and experts, nothing else', () => {
    expect(divided('mixtral')).toEqual({ ...grouped, ...stacks })
  })

  test('of DeepSeek-V3: heads behind the latent vectors, which all ranks have', () => {
    const latent = { 'q_b_proj.weight': heads, 'kv_b_proj.weight': heads, 'o_proj.weight': output }
    expect(divided('deepseek_v3')).toEqual({ ...latent, ...stacks })
  })

  test('of gpt-oss: sinks and the biases of what is divided by rows, not those that are added to sums', () => {
    expect(divided('gpt_oss')).toEqual({
      ...grouped,
      ...stacks,
      'q_proj.bias': heads,
      'k_proj.bias': heads,
      'v_proj.bias': heads,
      sinks: heads,
      gate_up_proj_bias: stacks.gate_up_proj,
      down_proj_bias: [experts],
    })
  })

  test('with experts alone: stacks by expert', () => {
    expect(divided('mixtral', meshSizes({ expert: 2, data: 4 }))).toEqual({
      gate_up_proj: [experts],
      down_proj: [experts],
    })
  })
})

test.each(['mixtral', 'deepseek_v3', 'gpt_oss', 'qwen2_moe'])(
  '%s: ranks together hold all of it, once',
  type => {
    for (const [path, declaration] of declarations(type)) {
      const divisions = shardingOf(path, declaration, all)
      const part = shardShape(declaration, divisions, all).reduce((a, b) => a * b, 1)
      const whole = declaration.shape.reduce((a, b) => a * b, 1)
      expect(part * 2 ** divisions.length).toBe(whole)
    }
  },
)

test('stages follow each other, as equal as can be, the larger ones first', () => {
  expect(stageLayers(61, 16).slice(0, 2)).toEqual([
    [0, 4],
    [4, 8],
  ])
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 0, max: 50 }), (stages, more) => {
      const split = stageLayers(stages + more, stages)
      const counts = split.map(([first, end]) => end - first)
      expect(split.map(([first]) => first)).toEqual(
        counts.map((_, s) => counts.slice(0, s).reduce((a, b) => a + b, 0)),
      )
      expect(counts.reduce((a, b) => a + b)).toBe(stages + more)
      expect(counts).toEqual(counts.toSorted((a, b) => b - a))
      expect((counts[0] as number) - (counts.at(-1) as number)).toBeLessThanOrEqual(1)
    }),
  )
})

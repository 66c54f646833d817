// Every decoder-only architecture written out in plain numbers, one token and one head at a time: slow, obvious, and with
// nothing of ours in it but the config and the weights. What recorded logits do not exercise is held to this.
import type { ModelConfig } from '../../src/models/index.ts'
import type { RopeScaling } from '../../src/nn/index.ts'
import type { Tensor } from '../../src/torch/index.ts'
import { frequenciesOf, turnsOf } from './reference-rope.ts'

type Vector = number[]
type Matrix = Vector[]
type Fields = Record<string, number | boolean | string | number[] | string[] | null | RopeScaling>

/** Logits of each position. */
export function referenceLogits(
  model: ModelConfig,
  state: ReadonlyMap<string, Tensor>,
  ids: number[],
): Matrix {
  const config = model as unknown as Fields
  const weights = new Map([...state].map(([name, tensor]) => [name, tensor.double().tolist()]))
  const at = <T>(name: string): T => weights.get(name) as T
  const has = (name: string): boolean => weights.has(name)
  const n = (name: string, otherwise = 0): number => Number(config[name] ?? otherwise)

  const linear = (x: Vector, name: string): Vector => {
    const bias = has(`${name}.bias`) ? at<Vector>(`${name}.bias`) : null
    return at<Matrix>(`${name}.weight`).map((row, i) => dot(row, x) + (bias?.[i] ?? 0))
  }
  const norm = (x: Vector, name: string, eps = n('rms_norm_eps')): Vector => {
    const weight = at<Vector>(`${name}.weight`)
    if (!has(`${name}.bias`)) {
      const scale = 1 / Math.sqrt(mean(x.map(v => v * v)) + eps)
      return x.map((v, i) => v * scale * weight[i]!)
    }
    const center = mean(x)
    const scale = 1 / Math.sqrt(mean(x.map(v => (v - center) ** 2)) + eps)
    return x.map((v, i) => (v - center) * scale * weight[i]! + at<Vector>(`${name}.bias`)[i]!)
  }
  const act = (v: number): number => {
    if (config.hidden_act === 'gelu') return (v / 2) * (1 + erf(v / Math.SQRT2))
    return v / (1 + Math.exp(-v))
  }
  const gatedMlp = (x: Vector, name: string): Vector => {
    const up = linear(x, `${name}.up_proj`)
    const hidden = linear(x, `${name}.gate_proj`).map((g, i) => act(g) * up[i]!)
    return linear(hidden, `${name}.down_proj`)
  }

  const rotated = Math.trunc(n('head_dim') * n('partial_rotary_factor', 1))
  const { frequencies, scale: magnitude } = frequenciesOf(
    config.rope_scaling as RopeScaling,
    n('rope_theta'),
    rotated,
    ids.length,
  )
  const turns = turnsOf(ids.length, frequencies, magnitude)
  const rotate = (x: Vector, position: number): Vector => {
    const out = [...x]
    for (let i = 0; i < rotated / 2; i++) {
      const [cos, sin] = [turns.cos[position]![i]!, turns.sin[position]![i]!]
      const [a, b] = [x[i]!, x[i + rotated / 2]!]
      out[i] = a * cos - b * sin
      out[i + rotated / 2] = b * cos + a * sin
    }
    return out
  }

  /** One head's mixture over what position i may see. */
  const mix = (
    i: number,
    q: Vector,
    keys: Matrix,
    values: Matrix,
    scale: number,
    window: number | null,
    sink?: number,
  ) => {
    const seen = keys.map((_, j) => j).filter(j => j <= i && (window === null || i - j < window))
    const exponentials = seen.map(j => Math.exp(scale * dot(q, keys[j]!)))
    const total = sum(exponentials) + (sink === undefined ? 0 : Math.exp(sink))
    return values[0]!.map((_, d) => sum(seen.map((j, s) => (exponentials[s]! / total) * values[j]![d]!)))
  }

  const windowOf = (layer: number): number | null => {
    const types = config.layer_types as string[] | undefined
    if (types && types[layer] === 'full_attention') return null
    return config.sliding_window === null ? null : n('sliding_window')
  }

  function attention(xs: Matrix, layer: number): Matrix {
    const name = `model.layers.${layer}.self_attn`
    const [heads, groups, width] = [n('num_attention_heads'), n('num_key_value_heads'), n('head_dim')]
    const project = (x: Vector, part: 'q' | 'k' | 'v', count: number): Matrix => {
      let y = linear(x, `${name}.${part}_proj`)
      const normed = `${name}.${part}_norm`
      const isWhole =
        has(`${normed}.weight`) && at<Vector>(`${normed}.weight`).length === y.length && count > 1
      if (isWhole) y = norm(y, normed)
      if (config.clip_qkv) y = y.map(v => Math.min(Math.max(v, -n('clip_qkv')), n('clip_qkv')))
      const split = Array.from({ length: count }, (_, h) => y.slice(h * width, (h + 1) * width))
      return has(`${normed}.weight`) && !isWhole ? split.map(head => norm(head, normed)) : split
    }
    const queries = xs.map((x, i) => project(x, 'q', heads).map(q => rotate(q, i)))
    const keys = xs.map((x, i) => project(x, 'k', groups).map(k => rotate(k, i)))
    const values = xs.map(x => project(x, 'v', groups))
    const scale = n('attention_multiplier', 1 / Math.sqrt(width))
    const sinks = has(`${name}.sinks`) ? at<Vector>(`${name}.sinks`) : null
    return xs.map((_, i) => {
      const mixed = Array.from({ length: heads }, (_, h) => {
        const g = Math.floor((h * groups) / heads)
        const of = (list: Matrix[]): Matrix => list.map(position => position[g]!)
        return mix(i, queries[i]![h]!, of(keys), of(values), scale, windowOf(layer), sinks?.[h])
      })
      return linear(mixed.flat(), `${name}.o_proj`)
    })
  }

  function latentAttention(xs: Matrix, layer: number): Matrix {
    const name = `model.layers.${layer}.self_attn`
    const [heads, plain, turned, width] = [
      n('num_attention_heads'),
      n('qk_nope_head_dim'),
      n('qk_rope_head_dim'),
      n('v_head_dim'),
    ]
    const turn = (part: Vector, i: number): Vector => {
      const halves = config.rope_interleave
        ? [...part.filter((_, d) => d % 2 === 0), ...part.filter((_, d) => d % 2 === 1)]
        : part
      return rotate(halves, i)
    }
    const rows = xs.map((x, i) => {
      const q = has(`${name}.q_proj.weight`)
        ? linear(x, `${name}.q_proj`)
        : linear(norm(linear(x, `${name}.q_a_proj`), `${name}.q_a_layernorm`, 1e-6), `${name}.q_b_proj`)
      const compressed = linear(x, `${name}.kv_a_proj_with_mqa`)
      const latent = norm(compressed.slice(0, n('kv_lora_rank')), `${name}.kv_a_layernorm`, 1e-6)
      const shared = turn(compressed.slice(n('kv_lora_rank')), i)
      const kv = linear(latent, `${name}.kv_b_proj`)
      return Array.from({ length: heads }, (_, h) => {
        const own = q.slice(h * (plain + turned), (h + 1) * (plain + turned))
        const both = kv.slice(h * (plain + width), (h + 1) * (plain + width))
        return {
          q: [...own.slice(0, plain), ...turn(own.slice(plain), i)],
          k: [...both.slice(0, plain), ...shared],
          v: both.slice(plain),
        }
      })
    })
    const scaling = config.rope_scaling as RopeScaling
    const magnitude =
      scaling.rope_type === 'yarn' && scaling.mscale_all_dim
        ? 0.1 * scaling.mscale_all_dim * Math.log(scaling.factor) + 1
        : 1
    const scale = magnitude ** 2 / Math.sqrt(plain + turned)
    return xs.map((_, i) => {
      const mixed = Array.from({ length: heads }, (_, h) => {
        const of = (part: 'k' | 'v'): Matrix => rows.map(row => row[h]![part])
        return mix(i, rows[i]![h]!.q, of('k'), of('v'), scale, null)
      })
      return linear(mixed.flat(), `${name}.o_proj`)
    })
  }

  /** Experts of a token, and what each counts. */
  function route(x: Vector, name: string): [expert: number, weight: number][] {
    const logits = linear(x, name)
    const k = n('num_experts_per_tok')
    switch (config.model_type) {
      case 'phimoe':
        return sparseMixer(logits, n('router_jitter_noise'))
      case 'deepseek_v3':
      case 'glm4_moe': {
        const scores = logits.map(z => 1 / (1 + Math.exp(-z)))
        const biased = scores.map((s, e) => s + at<Vector>(`${name}.e_score_correction_bias`)[e]!)
        const chosen = top(withinGroups(biased, n('n_group'), n('topk_group'), 2), k)
        const total = config.norm_topk_prob ? sum(chosen.map(e => scores[e]!)) : 1
        return chosen.map(e => [e, (scores[e]! / total) * n('routed_scaling_factor')])
      }
      case 'deepseek_v2': {
        const probs = softmax(logits)
        const isGrouped = config.topk_method === 'group_limited_greedy'
        const kept = isGrouped ? withinGroups(probs, n('n_group'), n('topk_group'), 1) : probs
        return top(kept, k).map(e => [e, probs[e]! * n('routed_scaling_factor')])
      }
      default: {
        const probs = softmax(logits)
        const chosen = top(probs, k)
        const isShare = config.norm_topk_prob ?? true // Mixtral, gpt-oss and Granite share out among the chosen
        const total = isShare ? sum(chosen.map(e => probs[e]!)) : 1
        return chosen.map(e => [e, probs[e]! / total])
      }
    }
  }

  function expert(x: Vector, name: string, e: number): Vector {
    if (config.model_type === 'gpt_oss') {
      const [w, b] = [at<Matrix[]>(`${name}.gate_up_proj`)[e]!, at<Matrix>(`${name}.gate_up_proj_bias`)[e]!]
      const both = b.map((bias, c) => bias + dot(w[c]!, x))
      const limit = n('swiglu_limit')
      const half = both.length / 2
      const hidden = Array.from({ length: half }, (_, f) => {
        const gate = Math.min(both[f]!, limit)
        const up = Math.min(Math.max(both[half + f]!, -limit), limit)
        return ((up + 1) * gate) / (1 + Math.exp(-1.702 * gate))
      })
      const down = at<Matrix[]>(`${name}.down_proj`)[e]!
      return at<Matrix>(`${name}.down_proj_bias`)[e]!.map((bias, d) => bias + dot(down[d]!, hidden))
    }
    const gateUp = at<Matrix[]>(`${name}.gate_up_proj`)[e]!
    const half = gateUp.length / 2
    const hidden = Array.from({ length: half }, (_, f) => act(dot(gateUp[f]!, x)) * dot(gateUp[half + f]!, x))
    return at<Matrix[]>(`${name}.down_proj`)[e]!.map(row => dot(row, hidden))
  }

  function feedForward(x: Vector, layer: number): Vector {
    const name = `model.layers.${layer}.mlp`
    if (!has(`${name}.gate.weight`)) return gatedMlp(x, name)
    const y = new Array<number>(x.length).fill(0)
    for (const [e, weight] of route(x, `${name}.gate`))
      for (const [d, v] of expert(x, `${name}.experts`, e).entries()) y[d]! += weight * v
    if (!has(`${name}.shared_expert.up_proj.weight`)) return y
    const gate = has(`${name}.shared_expert_gate.weight`)
      ? 1 / (1 + Math.exp(-linear(x, `${name}.shared_expert_gate`)[0]!))
      : 1
    return gatedMlp(x, `${name}.shared_expert`).map((v, d) => y[d]! + gate * v)
  }

  const residual = n('residual_multiplier', 1)
  const add = (x: Vector, y: Vector): Vector => x.map((v, i) => v + residual * y[i]!)
  let xs = ids.map(id =>
    at<Matrix>('model.embed_tokens.weight')[id]!.map(v => v * n('embedding_multiplier', 1)),
  )
  for (let layer = 0; layer < n('num_hidden_layers'); layer++) {
    const name = `model.layers.${layer}`
    const normed = xs.map(x => norm(x, `${name}.input_layernorm`))
    const mixed = 'kv_lora_rank' in config ? latentAttention(normed, layer) : attention(normed, layer)
    xs = xs.map((x, i) => add(x, mixed[i]!))
    xs = xs.map(x => add(x, feedForward(norm(x, `${name}.post_attention_layernorm`), layer)))
  }
  const head = has('lm_head.weight') ? 'lm_head' : 'model.embed_tokens'
  return xs.map(x => linear(norm(x, 'model.norm'), head).map(v => v / n('logits_scaling', 1)))
}

const sum = (values: Vector): number => values.reduce((a, b) => a + b, 0)
const mean = (values: Vector): number => sum(values) / values.length
const dot = (a: Vector, b: Vector): number => sum(a.map((v, i) => v * b[i]!))

function softmax(logits: Vector): Vector {
  const exponentials = logits.map(z => Math.exp(z - Math.max(...logits)))
  return exponentials.map(e => e / sum(exponentials))
}

const top = (scores: Vector, k: number): number[] =>
  [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b).slice(0, k)

function withinGroups(scores: Vector, groups: number, kept: number, best: number): Vector {
  const size = scores.length / groups
  const worth = Array.from({ length: groups }, (_, g) =>
    sum(
      scores
        .slice(g * size, (g + 1) * size)
        .sort((a, b) => b - a)
        .slice(0, best),
    ),
  )
  const chosen = top(worth, kept)
  return scores.map((s, e) => (chosen.includes(Math.floor(e / size)) ? s : -Infinity))
}

function sparseMixer(scores: Vector, noise: number): [number, number][] {
  const choose = (candidates: Vector): [number, number] => {
    const best = top(candidates, 1)[0]!
    const m = scores[best]!
    const close = candidates.map((c, j) =>
      (m - scores[j]!) / Math.max(Math.abs(scores[j]!), m) > 2 * noise ? -Infinity : c,
    )
    return [best, softmax(close)[best]!]
  }
  const first = choose(scores)
  return [first, choose(scores.map((s, j) => (j === first[0] ? -Infinity : s)))]
}

/** `2 / sqrt(pi) e^(-x^2) sum_k 2^k x^(2k+1) / (2k+1)!!`, whose terms have one sign; beyond 6 it is one to 16 digits. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x)
  let [term, total] = [x, x]
  for (let k = 1; k < 300; k++) {
    term *= (2 * x * x) / (2 * k + 1)
    total += term
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total
}

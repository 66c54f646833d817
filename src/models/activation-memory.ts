// What a layer's forward leaves in memory for its backward, as kernels take it: see the save_for_backward in functions.cc of each part
// of native/ops.
// Shapes: B sequences of a micro-batch, S positions, T = B*S tokens, D model, V vocabulary, H heads, E experts, K choices per token, N = T*K rows, F expert width, W = 2F.

import { itemSize } from '../torch/index.ts'
import type { Declarations } from './architectures/architecture.ts'

/** Bytes of one layer. */
export interface LayerActivations {
  /** The layer's input, and as much again its output. */
  input: number
  /** Beside the input, what backward needs within the layer. */
  activations: number
  /** What the router decided, on which losses are and which is looked at after the step. */
  routing: number
  working: number
}

/** Bytes of embedding, head and loss. */
export interface OutsideActivations {
  activations: number
  /** Hidden states, to the end of the step. */
  held: number
  working: number
}

/** The size of a micro-batch and of numbers. */
export interface ActivationSizes {
  positions: number
  tokens: number
  model: number
  heads: number
  isCausal: boolean
  /** Whether of a head only some dimensions are rotated, which are cut out and put back. */
  rotatesPartly: boolean
  /** E, of the whole model, whatever part of them is here. */
  experts: number
  /** K. */
  choices: number
  /** Neurons that PEER retrieves for a token. */
  neurons: number
  /** Bytes of an activation. */
  size: number
  onDevice: boolean
  /** Whether labels are smoothed. */
  smooths: boolean
  /** Whether answers are compared as wholes, for which logits of all tokens are there. */
  compares: boolean
}

/** Declarations below a path, by what follows it. */
export function shapesUnder(shapes: Declarations, prefix: string): Declarations {
  return new Map(
    [...shapes].flatMap(([path, shape]) =>
      path.startsWith(prefix) ? [[path.slice(prefix.length), shape] as const] : [],
    ),
  )
}

/** @param shapes of one layer, by their path within it; of what is divided, the part that is here */
export function layerActivations(shapes: Declarations, sizes: ActivationSizes): LayerActivations {
  const { tokens, model, size } = sizes
  const attention = attentionMemory(shapes, sizes)
  const forward = feedForwardMemory(shapes, sizes)
  const input = tokens * model * size
  return {
    input,
    // Both norms' results, and the sum between attention and feed-forward.
    activations: 3 * input + attention.activations + forward.activations,
    routing: forward.routing,
    working: 2 * input + Math.max(attention.working, forward.working), // gradients of the sum and of a branch
  }
}

type Part = Pick<LayerActivations, 'activations' | 'working'>

/** What attention's projections give, and the mixture; an encoder's scores as well, for which there is no kernel. */
function attentionMemory(shapes: Declarations, sizes: ActivationSizes): Part {
  const { tokens, positions, heads, size, isCausal, rotatesPartly } = sizes
  const projections = [...shapes].filter(
    ([path, { shape }]) => path.startsWith('self_attn.') && shape.length === 2,
  )
  const given = projections.map(([path, { shape }]) => shape[path.endsWith('.o_proj.weight') ? 1 : 0] ?? 0)
  const scores = isCausal ? 0 : tokens * heads * positions * size
  const again = latentWidth(shapes) + normedWidth(shapes) + (rotatesPartly ? 2 * keysAndQueries(shapes) : 0)
  const elements = tokens * (sum(given) + again)
  const logSums = tokens * heads * itemSize.f32
  return {
    activations: elements * size + logSums + scores,
    working: elements * size + 2 * scores,
  }
}

/** Queries and keys once more, where they have norms. */
const normedWidth = (shapes: Declarations): number =>
  shapes.has('self_attn.q_norm.weight') ? keysAndQueries(shapes) : 0

const keysAndQueries = (shapes: Declarations): number =>
  rowsOf(shapes, 'self_attn.q_proj.weight') + rowsOf(shapes, 'self_attn.k_proj.weight')

/** Queries and keys put together of plain and rotated parts, what these are cut from, and values, where attention is latent. */
function latentWidth(shapes: Declarations): number {
  const keysAndValues = rowsOf(shapes, 'self_attn.kv_b_proj.weight')
  if (keysAndValues === 0) return 0
  const queries = rowsOf(shapes, 'self_attn.q_b_proj.weight') + rowsOf(shapes, 'self_attn.q_proj.weight')
  const values = shapes.get('self_attn.o_proj.weight')?.shape[1] ?? 0
  return 2 * queries + keysAndValues + values
}

/** Experts that are routed to, dense or shared feed-forwards, and PEER's rows. */
function feedForwardMemory(shapes: Declarations, sizes: ActivationSizes): Part & { routing: number } {
  const { tokens, model, experts, choices, neurons, size, onDevice } = sizes
  const [, hidden = 0] = shapes.get('mlp.experts.gate_up_proj')?.shape ?? []
  const rows = hidden > 0 ? tokens * choices : 0
  const width = hidden / 2
  // Logits, probabilities and what losses make of them; weights in f32 and indices in i64.
  const routing = hidden > 0 ? tokens * itemSize.f32 * (3 * experts + 3 * choices) : 0
  const gates = [...shapes].filter(
    ([path, { role }]) => path.endsWith('gate_proj.weight') && (role === 'dense' || role === 'shared'),
  )
  const dense = tokens * sum(gates.map(([, { shape }]) => shape[0] ?? 0))
  const retrieved = shapes.has('mlp.input_weights') ? 2 * tokens * neurons * model : 0
  const queries = 3 * tokens * rowsOf(shapes, 'mlp.query.weight') // before, in and after their norm
  const gathered = onDevice ? 2 * rows * model : 0
  // Bounded experts have no kernel with gradients: rows are gathered and put back, and each step between the products is kept.
  const stepwise = shapes.has('mlp.experts.gate_up_proj_bias') ? rows * (4 * model + 7 * width) : 0
  return {
    routing,
    activations: (rows * hidden + stepwise + 4 * dense + retrieved + queries) * size, // gate, up, act(gate) and the product, where no kernel fuses them
    working: (rows * (model + hidden + width) + gathered + 2 * dense + retrieved) * size,
  }
}

/** The final norm, the head and the loss, and the input's embedding. */
export function headActivations(
  vocabulary: number,
  {
    tokens,
    model,
    size,
    onDevice,
    smooths,
    compares,
  }: Pick<ActivationSizes, 'tokens' | 'model' | 'size' | 'onDevice' | 'smooths' | 'compares'>,
): OutsideActivations {
  // As kChunkBytes has it in native/ops/loss/linear_cross_entropy.cc, and in chunked_cross_entropy.cc for devices.
  const chunk = onDevice
    ? Math.max(1, Math.floor(2 ** 29 / (vocabulary * size)))
    : Math.min(1024, Math.max(16, Math.floor(2 ** 23 / (vocabulary * size))))
  const product = onDevice ? vocabulary * model * size : 0
  const logits = tokens * vocabulary * size
  return {
    held: tokens * model * size,
    // What the norm took, and the gradient of what it gave; rows of the head for smoothed labels, twice for a moment.
    activations: (smooths ? 4 : 2) * tokens * model * size + (compares ? logits : 0), // as log-probabilities
    working: compares
      ? 2 * logits // the gradients of these, and of what they came from
      : Math.min(chunk, tokens) * vocabulary * size + vocabulary * model * itemSize.f32 + product,
  }
}

/** The first dimension of a matrix that a layer may have; 0 where it does not. */
const rowsOf = (shapes: Declarations, path: string): number => shapes.get(path)?.shape[0] ?? 0

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

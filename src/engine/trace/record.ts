// A model reads texts, and what its routers decide is recorded.
// Shapes: T tokens of a batch, K slots of each.

import { ConfigError } from '../../errors.ts'
import { type GgmlTypeName, ggmlByteLength } from '../../formats/index.ts'
import { type CausalLM, type LayerRouting, tokensOfSequences } from '../../models/index.ts'
import { MoeLayer } from '../../moe/index.ts'
import type { Parameter } from '../../nn/index.ts'
import { inferenceMode, itemSize, rowsOfPanels, tidy } from '../../torch/index.ts'
import type { TraceHeader, TraceSource } from './header.ts'
import { TraceWriter } from './write.ts'

/** Texts that a model reads together, as token ids. */
export type TextBatch = readonly (readonly number[])[]

export interface RecordOptions {
  /** Where the recording goes. */
  file: string
  /** What the model is called there. */
  name: string
  /** Called after each batch with the batches that are done. */
  onBatch?: (done: number) => void
}

/**
 * Records which experts every token chooses, between turns of the event loop. What capacity would drop is recorded as
 * chosen: in decoding nothing is dropped.
 *
 * @throws ConfigError where not every layer of experts lets tokens choose, or there is none
 */
export async function recordRouting(
  model: CausalLM,
  batches: Iterable<TextBatch>,
  { file, name, onBatch }: RecordOptions,
): Promise<TraceHeader> {
  let writer: TraceWriter | null = null
  let done = 0
  try {
    for (const rows of batches) {
      const layers = decide(model, rows)
      writer ??= new TraceWriter(file, describe(model, layers, name))
      writeBatch(writer, rows, layers)
      onBatch?.(++done)
      await new Promise(setImmediate)
    }
    if (writer === null) throw new ConfigError('no text to record: name another', { path: name })
    return writer.finish()
  } finally {
    writer?.dispose()
  }
}

/** What one layer decided for a batch, on the host. */
interface LayerChoices {
  layer: number
  topK: number
  indices: Int32Array // [T, K]
  weights: Float32Array // [T, K]
}

function decide(model: CausalLM, rows: TextBatch): LayerChoices[] {
  return inferenceMode(() =>
    tidy(() => {
      const tokens = tokensOfSequences(rows, { device: model.device })
      return model.forward(tokens, { logitsAt: 'last' }).routings.map(choicesOf)
    }),
  )
}

function choicesOf({ layer, chosen }: LayerRouting): LayerChoices {
  if (chosen.kind !== 'token')
    throw new ConfigError(
      `layer ${layer} routes by '${chosen.kind}': only layers whose tokens choose experts can be recorded`,
      { path: 'model' },
    )
  return {
    layer,
    topK: chosen.indices.size(-1),
    indices: chosen.indices.to('i32').toTypedArray<'i32'>(),
    weights: chosen.weights.to('f32').toTypedArray<'f32'>(),
  }
}

function describe(model: CausalLM, decided: readonly LayerChoices[], name: string): TraceSource {
  const experts = decided.flatMap(({ layer }) => {
    const { mlp } = model.model.layers[layer] ?? {}
    return mlp instanceof MoeLayer ? [mlp.experts] : []
  })
  if (experts.length === 0) throw new ConfigError('has no layers of experts to record', { path: name })
  const sizes = new Set(experts.map(layer => bytesOfExpert(layer.parameters(), layer.numExperts)))
  const [size = null] = sizes
  return {
    model: name.replace(/\p{Cc}/gu, '?'),
    moeLayers: decided.map(({ layer }) => layer),
    experts: Math.max(...experts.map(({ numExperts }) => numExperts)),
    topK: Math.max(...decided.map(({ topK }) => topK)),
    expertBytes: sizes.size === 1 ? size : null,
  }
}

/** What each expert has for itself; null where experts are not stacked, and may differ. */
function bytesOfExpert(parameters: readonly Parameter[], numExperts: number): number | null {
  const stacks = parameters.filter(({ declaration }) => declaration.stacked)
  if (stacks.length === 0) return null
  return stacks.reduce((sum, stack) => sum + bytesOf(stack), 0) / numExperts
}

function bytesOf({ encoding, numel, shape, dtype }: Parameter): number {
  if (encoding === null) return numel * itemSize[dtype]
  const rowLength = shape.at(-1) ?? 1
  return ggmlByteLength(rowsOfPanels(encoding) as GgmlTypeName, rowLength, numel / rowLength)
}

function writeBatch(writer: TraceWriter, rows: TextBatch, layers: readonly LayerChoices[]): void {
  let token = 0
  for (const ids of rows) {
    for (const [position, id] of ids.entries()) {
      const slots = layers.map(({ topK }) => [token * topK, (token + 1) * topK] as const)
      writer.add({
        id,
        position,
        experts: layers.map(({ indices }, l) => indices.subarray(...(slots[l] as [number, number]))),
        weights: layers.map(({ weights }, l) => weights.subarray(...(slots[l] as [number, number]))),
      })
      token += 1
    }
  }
}

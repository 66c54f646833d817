// Copies of all experts in fewer bits, which stand in for those that are not in memory.

import { ConfigError } from '../../errors.ts'
import { type GgmlTypeName, ggmlByteLength, ggmlTypes } from '../../formats/index.ts'
import { type ExpertRows, roundedRows } from '../../models/index.ts'
import { decodedRows, empty, inPanels, panelRows, panelsOf, type Tensor, tidy } from '../../torch/index.ts'
import { bytesOf, type ExpertKind, type MatrixKind } from './expert-kind.ts'
import type { LayerRows } from './layer-rows.ts'
import type { Wave } from './layer-waves.ts'

/** What a copy of a layer's experts takes. @throws ConfigError for rows that are no whole blocks */
export function copyKind({ up, down }: LayerRows, type: GgmlTypeName): ExpertKind {
  return { up: copiedMatrix(up, type), down: copiedMatrix(down, type) }
}

function copiedMatrix({ shape: [rows, columns] }: ExpertRows, type: GgmlTypeName): MatrixKind {
  const { blockSize } = ggmlTypes[type]
  if (columns % blockSize !== 0)
    throw new ConfigError(
      `${type.toLowerCase()} has blocks of ${blockSize}, and experts' rows have ${columns} numbers: take another type`,
      { path: 'onMiss' },
    )
  const encoding = panelsOf(type)
  return { encoding, shape: [panelRows(rows, encoding), ggmlByteLength(type, columns, 1)] }
}

/** Bytes of copies of all experts. */
export function copyBytes(layers: readonly LayerRows[], experts: number, type: GgmlTypeName): number {
  return layers.reduce((sum, rows) => sum + experts * bytesOf(copyKind(rows, type)), 0)
}

/** Of one layer: u8 [E, rows, bytes of a row] */
interface LayerCopies {
  kind: ExpertKind
  up: Tensor
  down: Tensor
}

export class ExpertCopies implements Disposable {
  readonly #layers: readonly LayerCopies[]
  readonly #rows: readonly LayerRows[]
  readonly #type: GgmlTypeName

  /** Room for copies. @throws ConfigError as copyKind() */
  constructor(layers: readonly LayerRows[], experts: number, type: GgmlTypeName) {
    this.#rows = layers
    this.#type = type
    const kinds = layers.map(rows => copyKind(rows, type))
    const room = ({ shape }: MatrixKind): Tensor => empty([experts, ...shape], { dtype: 'u8' }).persist()
    this.#layers = kinds.map(kind => ({ kind, up: room(kind.up), down: room(kind.down) }))
  }

  /** Copies experts of a layer while they are in memory. @throws FormatError for values that no type of few bits can hold */
  take(layer: number, { slots, places }: Wave): void {
    const { up, down } = this.#layers[layer] as LayerCopies
    const rows = this.#rows[layer] as LayerRows
    for (const [expert, place] of places) {
      this.#copy(slots.up.select(0, place), slots.kind.up, rows.up, up.select(0, expert))
      this.#copy(slots.down.select(0, place), slots.kind.down, rows.down, down.select(0, expert))
    }
  }

  #copy(stored: Tensor, { encoding }: MatrixKind, { shape: [rows], rangesOf }: ExpertRows, to: Tensor): void {
    tidy(() => {
      const values = decodedRows({ rows: stored, encoding }, rows) // [rows, columns]
      const rounded = roundedRows(values, this.#type, rangesOf(0)[0]?.file ?? '')
      to.copy_(inPanels({ rows: rounded, encoding: this.#type }).rows)
    })
  }

  /** Experts of a layer, by their number within it. */
  wave(layer: number, experts: readonly number[]): Wave {
    const slots = this.#layers[layer] as LayerCopies
    return { slots, places: new Map(experts.map(expert => [expert, expert])) }
  }

  [Symbol.dispose](): void {
    for (const { up, down } of this.#layers) for (const stack of [up, down]) stack.dispose()
  }
}

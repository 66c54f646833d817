// Tensors that belong to a module: declared once, with shape, role and initial values. Who makes the module decides what
// becomes of the declarations: memory with initial values, or nothing yet, until a loader gives each its tensor.

import {
  type DType,
  type EncodedRows,
  empty,
  isFloating,
  Tensor,
  tidy,
  unmade,
  zeros,
} from '../torch/index.ts'
import { constant, fill, type Init } from './init.ts'

/** What a tensor is for: by this, not by its name, are learning rates, types of files and counts told apart. */
export type Role =
  | 'embedding'
  | 'norm'
  | 'attention'
  | 'router'
  | 'experts'
  | 'shared'
  | 'dense'
  | 'head'
  | 'adapter'

/** All that is known of a tensor without its memory. */
export interface Declaration {
  readonly shape: readonly number[]
  readonly role: Role
  readonly init: Init
  /** Whether the first dimension counts experts, so that each slice is one expert's. Default: no. */
  readonly stacked?: true
  /** Whether nothing but products and look-ups reads its rows, so that they may stay as a file encodes them. Default: no. */
  readonly encodable?: true
}

type Maker = (declaration: Declaration) => Tensor

/** Who makes tensors of modules now; null: nobody, they stay declarations. */
let maker: Maker | null = ({ shape, init }) => fill(empty(shape), init)

function withMaker<T>(next: Maker | null, make: () => T): T {
  const before = maker
  maker = next
  try {
    return make()
  } finally {
    maker = before
  }
}

/** Makes modules whose tensors are declarations alone: no memory is taken, and native code is not loaded. */
export function declared<T>(make: () => T): T {
  return withMaker(null, make)
}

/** Makes modules without drawing initial values, for weights that are about to be copied into them. */
export function undrawn<T>(make: () => T): T {
  return withMaker(({ shape }) => empty(shape), make)
}

/** A tensor that lives until its module is disposed. */
abstract class ModuleTensor extends Tensor {
  abstract readonly declaration: Declaration

  /** Whether it has memory. */
  get isMade(): boolean {
    return this.handle !== unmade
  }

  /** Known also of a declaration. */
  override get shape(): number[] {
    return this.isMade ? super.shape : [...this.declaration.shape]
  }

  override get numel(): number {
    return this.shape.reduce((product, size) => product * size, 1)
  }

  /** Gives a declaration its memory, which is taken over: the tensor passed in is disposed. */
  make(data: Tensor): void {
    this.handle = taken(data)
    this.persist()
  }
}

/** A handle on the same data; the tensor passed in is disposed. */
function taken(data: Tensor): number {
  const handle = data.newHandle()
  data.dispose()
  return handle
}

/** A trainable tensor; or one that stays as its file encodes it, for products and look-ups alone. */
export class Parameter extends ModuleTensor {
  readonly declaration: Declaration
  #encoding: string | null = null

  /** @param source a declaration; or a tensor of initial values, which is taken over and disposed */
  constructor(source: Declaration | Tensor) {
    super(unmade)
    this.declaration =
      source instanceof Tensor ? { shape: source.shape, role: 'dense', init: constant(0) } : source
    const data = source instanceof Tensor ? source : maker?.(source)
    if (data) this.make(data)
  }

  override make(data: Tensor): void {
    super.make(data)
    if (isFloating(this.dtype)) this.requiresGrad_()
  }

  /** Gives a declaration encoded rows for its memory: they are taken over, and the tensor passed in is disposed. */
  makeEncoded({ rows, encoding }: EncodedRows): void {
    super.make(rows)
    this.#encoding = encoding
  }

  /** How its rows are encoded; null for numbers as they are. */
  get encoding(): string | null {
    return this.#encoding
  }

  /** Of the numbers, encoded or not. */
  override get shape(): number[] {
    return this.#encoding === null ? super.shape : [...this.declaration.shape]
  }
}

export interface BufferOptions {
  /** Default f32. It stays when the module's weights are converted: buffers move by small steps. */
  dtype?: DType
  /** Whether checkpoints have it. Default true. */
  persistent?: boolean
  /** Its first value. Default: zeros. */
  value?: () => Tensor
  /** Default router: what routers keep is most of them. */
  role?: Role
}

/** State of a module that no gradient trains: counts and biases, which checkpoints have, or tables made from settings. */
export class Buffer extends ModuleTensor {
  readonly declaration: Declaration
  readonly persistent: boolean
  /** The dtype that it has, or will have. */
  readonly declaredDType: DType
  readonly #value: () => Tensor

  constructor(shape: readonly number[], { dtype = 'f32', ...options }: BufferOptions = {}) {
    super(unmade)
    this.declaration = { shape, role: options.role ?? 'router', init: constant(0) }
    this.persistent = options.persistent ?? true
    this.declaredDType = dtype
    this.#value = options.value ?? (() => zeros(shape, { dtype }))
    if (maker) this.makeFirst()
  }

  /** A new tensor of its first value. */
  first(): Tensor {
    return tidy(this.#value)
  }

  /** Gives it its first value. */
  makeFirst(): void {
    this.make(this.first())
  }
}

import { native, type OperatorSchema } from './native.ts'

/** A libtorch operator by name, looked up when first called. */
export class Operator {
  readonly name: string
  readonly overload: string
  #id = -1

  constructor(name: string, overload = '') {
    this.name = name
    this.overload = overload
  }

  /** Its number in the addon's table. Throws TorchError when this libtorch has no such operator. */
  get id(): number {
    if (this.#id < 0) this.#id = native().resolve(this.name, this.overload)
    return this.#id
  }

  get schema(): OperatorSchema {
    return native().schema(this.id)
  }
}

// Module: a tree of parameters, buffers and other modules, addressed by the names of its properties.

import { ConfigError } from '../errors.ts'
import { type Device, type DType, isSecondRun, noGrad, type Tensor, tidy } from '../torch/index.ts'
import { Buffer, type Declaration, Parameter } from './parameter.ts'

/**
 * Base of everything with parameters. A property that is a Parameter, a Buffer, a Module or an array of Modules is
 * part of the tree, and its path (`layers.0.self_attn.q_proj.weight`) is its name in checkpoints.
 */
export abstract class Module {
  /** Whether dropout and the like are active. Set by train() and eval(). */
  training = true

  /** Whether to count and remember what is seen: in training, unless recompute() shows it for the second time. */
  protected get remembers(): boolean {
    return this.training && !isSecondRun()
  }

  /** Switches dropout and the like, here and below, on or off. Returns this. */
  train(training = true): this {
    for (const [, module] of this.namedModules()) module.training = training
    return this
  }

  /** The same as train(false). */
  eval(): this {
    return this.train(false)
  }

  /** This module and all below it, by path; its own path is empty. */
  *namedModules(prefix = ''): Generator<[path: string, module: Module]> {
    yield [prefix, this]
    for (const [path, value] of this.#children(prefix)) {
      if (value instanceof Module) yield* value.namedModules(path)
    }
  }

  /** Trainable tensors by path. One that is shared appears once, under its first path. */
  namedParameters(): Map<string, Parameter> {
    return this.#tensors(value => value instanceof Parameter) as Map<string, Parameter>
  }

  /** Untrained tensors by path. */
  namedBuffers(): Map<string, Buffer> {
    return this.#tensors(value => value instanceof Buffer) as Map<string, Buffer>
  }

  /** Trainable tensors, each once. */
  parameters(): Parameter[] {
    return [...this.namedParameters().values()]
  }

  /** Everything a checkpoint holds: parameters and persistent buffers by path. */
  stateDict(): Map<string, Parameter | Buffer> {
    const isSaved = (value: unknown): boolean =>
      value instanceof Parameter || (value instanceof Buffer && value.persistent)
    return this.#tensors(isSaved) as Map<string, Parameter | Buffer>
  }

  /** What is known of stateDict() without memory. */
  declarations(): Map<string, Declaration> {
    return new Map([...this.stateDict()].map(([path, { declaration }]) => [path, declaration]))
  }

  /** Everything that is memory of this module: the checkpoint's tensors and all other buffers. */
  #owned(): Map<string, Parameter | Buffer> {
    return new Map<string, Parameter | Buffer>([...this.namedParameters(), ...this.namedBuffers()])
  }

  /**
   * Copies tensors into this module's own, converting dtype and device. Nothing is changed unless names and shapes
   * all match.
   *
   * @throws ConfigError listing every missing, surplus and misshapen tensor
   */
  loadStateDict(tensors: ReadonlyMap<string, Tensor>): void {
    const own = this.stateDict()
    refuseMismatch(own, tensors)
    noGrad(() =>
      tidy(() => {
        for (const [name, tensor] of tensors) own.get(name)?.copy_(tensor)
      }),
    )
  }

  /**
   * Converts floating-point parameters to a dtype, or everything to a device; gradients are dropped. Buffers keep
   * their dtype: they move by small steps, which half precision would round away. What has no memory stays so. Returns this.
   */
  to(target: DType | Device): this {
    const isDevice = target.startsWith('c')
    tidy(() => {
      for (const tensor of (isDevice ? this.#owned() : this.namedParameters()).values()) {
        if (!tensor.isMade) continue
        const converted = isDevice || tensor.isFloating ? tensor.detach().to(target) : tensor
        if (converted === tensor) continue
        tensor.grad = null // it would be of the old dtype, on the old device
        tensor.setData(converted)
      }
    })
    return this
  }

  /** Drops every gradient. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.grad = null
  }

  /** Number of trainable elements. */
  get numParameters(): number {
    return this.parameters().reduce((sum, parameter) => sum + parameter.numel, 0)
  }

  /** Frees every tensor of this module. */
  dispose(): void {
    for (const tensor of this.#owned().values()) tensor.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #tensors(wanted: (value: unknown) => boolean): Map<string, Tensor> {
    const found = new Map<string, Tensor>()
    const seen = new Set<unknown>()
    for (const [prefix, module] of this.namedModules()) {
      for (const [path, value] of module.#children(prefix)) {
        if (!wanted(value) || seen.has(value)) continue
        seen.add(value)
        found.set(path, value as Tensor)
      }
    }
    return found
  }

  *#children(prefix: string): Generator<[path: string, value: unknown]> {
    const join = (name: string): string => (prefix === '' ? name : `${prefix}.${name}`)
    for (const [name, value] of Object.entries(this)) {
      if (Array.isArray(value)) {
        for (const [i, item] of value.entries()) yield [join(`${name}.${i}`), item]
      } else {
        yield [join(name), value]
      }
    }
  }
}

function refuseMismatch(own: ReadonlyMap<string, Tensor>, given: ReadonlyMap<string, Tensor>): void {
  const problems = [...own].flatMap(([name, tensor]) => {
    const other = given.get(name)
    if (!other) return [`missing ${name}`]
    const same = other.shape.join() === tensor.shape.join()
    return same ? [] : [`${name} has shape [${other.shape}], the model wants [${tensor.shape}]`]
  })
  const surplus = [...given.keys()].filter(name => !own.has(name)).map(name => `surplus ${name}`)
  problems.push(...surplus)
  if (problems.length === 0) return
  const shown = problems.slice(0, 8).join('; ')
  const more = problems.length > 8 ? `; and ${problems.length - 8} more` : ''
  throw new ConfigError(`tensors do not fit the model: ${shown}${more}`, { path: '' })
}

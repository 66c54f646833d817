// Backward by running forward again: memory for time.

import { TorchError } from '../errors.ts'
import type { Device } from './dtype.ts'
import { Generator } from './generator.ts'
import { type Handle, native } from './native.ts'
import { Tensor } from './tensor.ts'
import { autocast, enableGrad, fullPrecision, noGrad, tensorsIn, tidy } from './tidy.ts'

let secondRuns = 0

/**
 * Whether a recompute() is running its function for the second time: what was counted or remembered in the first run is
 * not to be again.
 */
export const isSecondRun = (): boolean => secondRuns > 0

/** Whether what is computed of any of these tensors now is recorded for backward. */
export const isRecorded = (...tensors: readonly Tensor[]): boolean =>
  native().isRecording(tensors.map(handleOf))

/**
 * `fn(...args)`, of which backward keeps the arguments alone: it runs `fn` again, on the same random numbers, and goes
 * backward through that (arXiv:1604.06174 section 4; torch.utils.checkpoint with use_reentrant=True). Memory for
 * activations falls to those of one `fn` at a time; forward is paid twice.
 *
 * Every tensor that `fn` reads must be in `args`, within arrays, plain objects, maps and sets, or live until backward as
 * parameters do: others are disposed by then. At least one of `args` must need a gradient, else `fn` just runs. What `fn`
 * returns is connected to the graph wherever it is floating. Calls nest.
 *
 * Backward throws what `fn` throws, and TorchError for `createGraph` and for `grad()`, which cannot go through.
 */
export function recompute<A extends readonly unknown[], T>(fn: (...args: A) => T, args: A): T {
  const inputs = tensorsIn(args)
  if (!native().isRecording(inputs.map(handleOf))) return fn(...args)
  const modes = new Modes(inputs)
  return tidy(() => {
    const kept = [...inputs, ...modes.randomStates()]
    const result = noGrad(() => fn(...args))
    modes.forgetNarrowed()
    const outputs = tensorsIn(result)
    const connected = native().recomputed(kept.map(handleOf), outputs.map(handleOf), (handles, gradients) =>
      tidy(() => {
        const saved = handles.map(handle => new Tensor(handle))
        const again = replaceTensors(args, new Map(inputs.map((input, i) => [input, saved[i] ?? input])))
        const outputs = modes.restored(saved.slice(inputs.length), () => tensorsIn(runAgain(fn, again)))
        backward(outputs, connected, gradients)
      }),
    )
    return result
  })
}

function runAgain<A extends readonly unknown[], T>(fn: (...args: A) => T, args: A): T {
  secondRuns++
  try {
    return enableGrad(() => fn(...args))
  } finally {
    secondRuns--
  }
}

function backward(
  outputs: readonly Tensor[],
  connected: readonly boolean[],
  gradients: readonly (Handle | null)[],
): void {
  if (outputs.length !== connected.length) {
    throw new TorchError(
      `recompute() got ${outputs.length} tensors in the second run and ${connected.length} in the first: ` +
        'the function must do the same each time',
      {},
    )
  }
  const weights = gradients[Symbol.iterator]()
  const reached = outputs
    .filter((_, i) => connected[i])
    .flatMap(output => {
      const weight: Handle | null = weights.next().value ?? null
      return weight !== null && output.requiresGrad ? [{ output: output.handle, weight }] : []
    })
  native().backwardFrom(
    reached.map(({ output }) => output),
    reached.map(({ weight }) => weight),
  )
}

/** What beside its arguments decides what a function computes: random numbers and mixed precision. */
class Modes {
  readonly #devices: readonly Device[]
  readonly #device: Device
  readonly #narrow: 'bf16' | 'f16' | null

  constructor(inputs: readonly Tensor[]) {
    this.#devices = [...new Set<Device>(['cpu', ...inputs.map(input => input.device)])]
    this.#device = this.#devices.at(-1) ?? 'cpu'
    this.#narrow = native().autocast(this.#device.split(':')[0] ?? 'cpu') as 'bf16' | 'f16' | null
  }

  /** Where the shared generator of each device stands. */
  randomStates(): Tensor[] {
    return this.#devices.map(device => {
      using generator = Generator.shared(device)
      return generator.state
    })
  }

  /** Weights that were narrowed without recording are not those to record with. */
  forgetNarrowed(): void {
    if (this.#narrow !== null) native().clearAutocastCache()
  }

  /** Runs `body` as it ran when the random states were those; they are put back after. */
  restored<T>(states: readonly Tensor[], body: () => T): T {
    const now = this.randomStates()
    this.#setRandomStates(states)
    try {
      return this.#narrow === null
        ? fullPrecision(this.#device, body)
        : autocast(this.#device, this.#narrow, body)
    } finally {
      this.#setRandomStates(now)
    }
  }

  #setRandomStates(states: readonly Tensor[]): void {
    for (const [i, device] of this.#devices.entries()) {
      using generator = Generator.shared(device)
      const state = states[i]
      if (state) generator.state = state
    }
  }
}

const handleOf = (tensor: Tensor): Handle => tensor.handle

/** A copy of `value` with other tensors, through what tensorsIn() looks into. */
function replaceTensors<T>(value: T, others: ReadonlyMap<Tensor, Tensor>): T {
  const copy = (part: unknown): unknown => {
    if (part instanceof Tensor) return others.get(part) ?? part
    if (Array.isArray(part)) return part.map(copy)
    if (part instanceof Map) return new Map([...part].map(([key, item]) => [key, copy(item)]))
    if (part instanceof Set) return new Set([...part].map(copy))
    if (typeof part !== 'object' || part === null || Object.getPrototypeOf(part) !== Object.prototype)
      return part
    return Object.fromEntries(Object.entries(part).map(([key, item]) => [key, copy(item)]))
  }
  return copy(value) as T
}

// Random number generators.

import type { Device } from './dtype.ts'
import { native } from './native.ts'
import { Tensor } from './tensor.ts'

/** A stream of random numbers with its own seed and state (libtorch's Mersenne Twister on a CPU). */
export class Generator {
  /** Its number in the addon's table. */
  readonly id: number

  private constructor(id: number) {
    this.id = id
  }

  /** A new generator. */
  static seeded(seed: number, device: Device = 'cpu'): Generator {
    return new Generator(native().generator(seed, device))
  }

  /** The generator that operators use when none is named: one per device and process. */
  static shared(device: Device = 'cpu'): Generator {
    return new Generator(native().generator(null, device))
  }

  seed(seed: number): void {
    native().seedGenerator(this.id, seed)
  }

  /** Everything needed to continue the stream, as u8 bytes. */
  get state(): Tensor {
    return new Tensor(native().generatorState(this.id))
  }

  set state(state: Tensor) {
    native().setGeneratorState(this.id, state.handle)
  }

  dispose(): void {
    native().releaseGenerator(this.id)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Seeds the shared generators of the CPU and of the current CUDA device. */
export function manualSeed(seed: number): void {
  const devices: Device[] = native().info().cuda ? ['cpu', 'cuda'] : ['cpu']
  for (const device of devices) {
    using generator = Generator.shared(device)
    generator.seed(seed)
  }
}

/** What `draw` gives with the CPU's shared generator seeded; afterwards the generator is as it was. */
export function withSeed<T>(seed: number, draw: () => T): T {
  using generator = Generator.shared()
  using before = generator.state
  generator.seed(seed)
  try {
    return draw()
  } finally {
    generator.state = before
  }
}

// A moving average of the weights, which predicts better than the weights that noisy steps leave (Polyak and Juditsky 1992).

import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import type { Parameter } from '../nn/index.ts'
import { noGrad, type Tensor, tidy } from '../torch/index.ts'

/** `ema` in recipes. */
export const averageSchema = z.strictObject({
  /** What stays of the average in a step. */
  decay: z.number().positive().lt(1).default(0.999),
})

/**
 * `a = d a + (1 - d) w` after each step, `d = min(decay, (1 + t) / (10 + t))`: the first weights, which know nothing, are forgotten
 * sooner (as TensorFlow's ExponentialMovingAverage).
 */
export class WeightAverage {
  readonly #decay: number
  readonly #averages: ReadonlyMap<Parameter, Tensor>

  /**
   * @param parameters what is trained; the average starts from their values
   * @throws ConfigError for parameters in half precision, in which an average would stand still
   */
  constructor(parameters: Iterable<Parameter>, { decay }: z.infer<typeof averageSchema>) {
    const all = [...parameters]
    if (all.some(({ dtype }) => dtype === 'bf16' || dtype === 'f16'))
      throw new ConfigError('averages weights in f32: leave it out, or set precision to f32 or autocast', {
        path: 'ema',
      })
    this.#decay = decay
    this.#averages = new Map(all.map(parameter => [parameter, parameter.detach().clone().persist()]))
  }

  /** Takes note of the weights after an update, the `count`-th, from 1. */
  follow(count: number): void {
    const share = 1 - Math.min(this.#decay, (1 + count) / (10 + count))
    this.#each((parameter, average) => average.lerp_(parameter, share))
  }

  /** Exchanges weights and averages, in place; doing it again brings both back, bit for bit. */
  swap(): void {
    this.#each((parameter, average) => {
      const weights = parameter.clone()
      parameter.copy_(average)
      average.copy_(weights)
    })
  }

  #each(body: (parameter: Parameter, average: Tensor) => void): void {
    noGrad(() => {
      for (const [parameter, average] of this.#averages) tidy(() => body(parameter, average))
    })
  }

  dispose(): void {
    for (const average of this.#averages.values()) average.dispose()
  }
}

// What the machine's best library of matrix products reaches in a run: the limit of everything made of them.

import { gemmLibraries, hasFastBf16 } from '../../src/torch/index.ts'
import { Contestant } from './contestant.ts'

const flops = 2 * 1024 ** 3

export class ProductLimits {
  readonly contestants: readonly Contestant[]

  private constructor(contestants: readonly Contestant[]) {
    this.contestants = contestants
  }

  /** Every library in f32, and bf16 where the processor has it. */
  static async ready(): Promise<ProductLimits> {
    const libraries = gemmLibraries().filter(name => name !== 'libtorch')
    const contestants = libraries.map(name => Contestant.ours(`${name} f32`, 'products.ts', [name, 'f32']))
    if (hasFastBf16()) contestants.push(Contestant.ours('onednn bf16', 'products.ts', ['onednn', 'bf16']))
    for (const contestant of contestants) await (await contestant.ready()).round(60, { warmup: true })
    return new ProductLimits(contestants)
  }

  async round(count: number): Promise<void> {
    for (const contestant of this.contestants) await contestant.round(count)
  }

  /** Forgets the rounds so far. */
  restart(): void {
    for (const { rounds } of this.contestants) rounds.length = 0
  }

  /** FLOP/s of the best library since the start; null for a type that the processor has not. */
  best(dtype: 'f32' | 'bf16'): number | null {
    const rates = this.contestants.flatMap(({ name, median }) => (name.endsWith(dtype) ? flops / median : []))
    return rates.length === 0 ? null : Math.max(...rates)
  }

  /** Each library's rate, in words. */
  toString(): string {
    const rates = this.contestants.map(({ name, median }) => `${name} ${(flops / median / 1e9).toFixed(0)}`)
    return `products of 1024^3 in this run: ${rates.join(', ')} GFLOP/s`
  }

  close(): void {
    for (const contestant of this.contestants) contestant.close()
  }
}

// Initial values. They draw from libtorch's shared generator: manualSeed() makes them repeat.

import { createHash } from 'node:crypto'
import { noGrad, type Tensor } from '../torch/index.ts'

/** How a tensor starts, by name. */
export type Init =
  | { readonly kind: 'constant'; readonly value: number }
  /** Uniform on `+-bound`. */
  | { readonly kind: 'uniform'; readonly bound: number }
  /** Normal with mean 0. */
  | { readonly kind: 'normal'; readonly std: number }
  /** A rule of the part's own, which stands beside it. */
  | { readonly kind: 'own'; readonly name: string; readonly fill: (tensor: Tensor) => void }

export const constant = (value: number): Init => ({ kind: 'constant', value })
export const uniform = (bound: number): Init => ({ kind: 'uniform', bound })
export const normal = (std: number): Init => ({ kind: 'normal', std })
export const ownInit = (name: string, fill: (tensor: Tensor) => void): Init => ({ kind: 'own', name, fill })

/** Fills a tensor in place, and returns it. */
export function fill(tensor: Tensor, init: Init): Tensor {
  noGrad(() => {
    switch (init.kind) {
      case 'constant':
        return void tensor.fill_(init.value)
      case 'uniform':
        return void tensor.uniform_(-init.bound, init.bound)
      case 'normal':
        return void tensor.normal_(0, init.std)
      case 'own':
        return init.fill(tensor)
    }
  })
  return tensor
}

/** A seed of a tensor's own, or of one slice of it, so that its values depend on no other tensor's. */
export function ownSeed(seed: number, path: string, slice: number): number {
  return createHash('sha256').update(`${seed} ${path} ${slice}`).digest().readUInt32LE()
}

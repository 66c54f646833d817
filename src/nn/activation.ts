import { ConfigError } from '../errors.ts'
import type { Tensor } from '../torch/index.ts'

/** The non-linearity of a feed-forward network. `gelu` is exact, `gelu-tanh` the approximation of GPT-2. */
export type Activation = 'silu' | 'gelu' | 'gelu-tanh' | 'relu'

/** Throws ConfigError for a name that is none of them. */
export function activate(x: Tensor, activation: Activation): Tensor {
  switch (activation) {
    case 'silu':
      return x.silu()
    case 'gelu':
      return x.gelu()
    case 'gelu-tanh':
      return x.gelu('tanh')
    case 'relu':
      return x.relu()
    default:
      throw new ConfigError(`'${activation satisfies never}' is none of silu, gelu, gelu-tanh, relu`, {
        path: 'activation',
      })
  }
}

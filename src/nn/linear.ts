import {
  arange,
  encodedLinear,
  encodedRows,
  isRecorded,
  linear,
  recompute,
  type Tensor,
} from '../torch/index.ts'
import { uniform } from './init.ts'
import { Module } from './module.ts'
import { Parameter, type Role } from './parameter.ts'

export interface LinearOptions {
  /** Default true. */
  bias?: boolean
  /** Default dense. */
  role?: Role
  /** Whether forward() alone reads its weights: see Declaration. Default true. */
  encodable?: boolean
}

/** `y = x W^T + b`: [..., in] -> [..., out]. Initial weights are uniform on `+-1/sqrt(in)`, as in PyTorch. */
export class Linear extends Module {
  readonly weight: Parameter // [out, in]
  readonly bias: Parameter | null

  constructor(
    inFeatures: number,
    outFeatures: number,
    { bias = true, role = 'dense', encodable = true }: LinearOptions = {},
  ) {
    super()
    const init = uniform(1 / Math.sqrt(inFeatures))
    const shape = [outFeatures, inFeatures]
    this.weight = new Parameter({ shape, role, init, ...(encodable && { encodable }) })
    this.bias = bias ? new Parameter({ shape: [outFeatures], role, init }) : null
  }

  forward(x: Tensor): Tensor {
    return linearBy(x, this.weight, this.bias)
  }
}

/**
 * `y = x W^T + b` with weights that may be encoded: [..., in] -> [..., out]. Where x needs a gradient these are decoded, in forward and
 * again in backward, so that they are never kept (QLoRA, arXiv:2305.14314 section 3).
 */
export function linearBy(x: Tensor, weight: Parameter, bias: Tensor | null = null): Tensor {
  const { encoding } = weight
  if (encoding === null) return linear(x, weight, bias)
  if (isRecorded(x)) return recompute(recorded => linear(recorded, numbersOf(weight), bias), [x])
  const [outFeatures = 0, inFeatures = 0] = weight.shape
  if (x.ndim === 2) return encodedLinear(x, weight, encoding, outFeatures, bias)
  const y = encodedLinear(x.reshape([-1, inFeatures]), weight, encoding, outFeatures, bias)
  return y.reshape([...x.shape.slice(0, -1), outFeatures])
}

/** A parameter as numbers, whether it is encoded or not: [..., rows, columns]. */
export function numbersOf(weight: Parameter): Tensor {
  const { encoding, shape } = weight
  if (encoding === null) return weight
  const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1)
  return encodedRows(weight.flatten(0, -2), encoding, arange(0, rows)).view(shape)
}

// Where a model computes, and in which type: the options that generate, chat and eval share.

import type { Command } from 'commander'
import { ConfigError } from '../errors.ts'
import type { LoadOptions } from '../models/index.ts'
import type { Device } from '../torch/index.ts'
import { oneOf } from './values.ts'

const dtypes = ['f32', 'bf16', 'f16'] as const
type PlacedDType = (typeof dtypes)[number]

/** How weights are taken by default. */
type Weights = 'stored' | 'decoded'

export interface PlacementFlags {
  device: Device
  dtype?: PlacedDType | undefined
  weights?: string | undefined
}

/**
 * Adds --device, --dtype and --weights.
 *
 * @param usual how weights are taken where neither --weights nor --dtype says. Default stored
 */
export function withPlacementOptions(command: Command, usual: Weights = 'stored'): Command {
  const unless = usual === 'stored' ? 'stored on a CPU, unless --dtype says otherwise' : usual
  return command
    .option('--device <name>', 'cpu, cuda or cuda:N', deviceOf, 'cpu')
    .option(
      '--dtype <name>',
      `type of the weights: ${dtypes.join(', ')} (default: f32 on a CPU, bf16 on CUDA)`,
      oneOf('--dtype', dtypes),
    )
    .option(
      '--weights <how>',
      `stored: compute from them as the file has them; decoded: in --dtype; or round them first, as q8_0,experts=q4_0 (default: ${unless})`,
    )
}

/** @throws ConfigError for f16 on a CPU, which has no products in it, and for stored weights elsewhere or in another type */
export function placementOf(
  { device, dtype, weights }: PlacementFlags,
  usual: Weights = 'stored',
): Required<LoadOptions> {
  const canStay = device === 'cpu' && dtype === undefined
  if (weights !== undefined && weights !== 'decoded' && !canStay)
    throw new ConfigError(
      `${weights} weights are computed on the CPU as they are: leave --device and --dtype out`,
      {
        path: '--weights',
      },
    )
  const type = dtype ?? (device === 'cpu' ? 'f32' : 'bf16')
  if (type === 'f16' && device === 'cpu')
    throw new ConfigError('f16 needs CUDA: a CPU has no products in it; use f32', { path: '--dtype' })
  return { device, dtype: type, weights: weights ?? (canStay ? usual : 'decoded'), mapped: true }
}

function deviceOf(text: string): Device {
  if (/^(cpu|cuda(:\d+)?)$/.test(text)) return text as Device
  throw new ConfigError(`must be cpu, cuda or cuda:N, got '${text}'`, { path: '--device' })
}

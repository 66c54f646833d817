// Where a model computes, and in which type: the options that generate, chat and eval share.

import type { Command } from 'commander'
import { ConfigError } from '../errors.ts'
import type { LoadOptions } from '../models/index.ts'
import type { Device } from '../torch/index.ts'

const dtypes = ['f32', 'bf16', 'f16'] as const
type PlacedDType = (typeof dtypes)[number]

export interface PlacementFlags {
  device: Device
  dtype?: PlacedDType | undefined
}

/** Adds --device and --dtype. */
export function withPlacementOptions(command: Command): Command {
  return command
    .option('--device <name>', 'cpu, cuda or cuda:N', deviceOf, 'cpu')
    .option(
      '--dtype <name>',
      `type of the weights: ${dtypes.join(', ')} (default: f32 on a CPU, bf16 on CUDA)`,
      dtypeOf,
    )
}

/** @throws ConfigError for f16 on a CPU, which has no products in it */
export function placementOf({ device, dtype }: PlacementFlags): Required<LoadOptions> {
  const type = dtype ?? (device === 'cpu' ? 'f32' : 'bf16')
  if (type === 'f16' && device === 'cpu')
    throw new ConfigError('f16 needs CUDA: a CPU has no products in it; use f32', { path: '--dtype' })
  return { device, dtype: type }
}

function deviceOf(text: string): Device {
  if (/^(cpu|cuda(:\d+)?)$/.test(text)) return text as Device
  throw new ConfigError(`must be cpu, cuda or cuda:N, got '${text}'`, { path: '--device' })
}

function dtypeOf(text: string): PlacedDType {
  const known = dtypes.find(name => name === text)
  if (known) return known
  throw new ConfigError(`must be one of ${dtypes.join(', ')}, got '${text}'`, { path: '--dtype' })
}

// What keys and values are kept in: the option that generate, chat and inspect share.

import type { Command } from 'commander'
import { ConfigError } from '../errors.ts'
import type { LoadOptions } from '../models/index.ts'
import type { KvType } from '../nn/index.ts'
import { oneOf } from './values.ts'

const kvTypes = ['f32', 'f16', 'q8_0'] as const satisfies readonly KvType[]

export interface KvFlags {
  kv?: (typeof kvTypes)[number] | undefined
}

/** Adds --kv. */
export function withKvOption(command: Command): Command {
  return command.option(
    '--kv <type>',
    `what keys and values are kept in: ${kvTypes.join(', ')} (default: what the model computes in)`,
    oneOf('--kv', kvTypes),
  )
}

/** @throws ConfigError where attention reads nothing but what the model computes in: before the model is opened */
export function refuseOtherKv({ kv }: KvFlags, { device, dtype }: Required<LoadOptions>): void {
  if (kv === undefined || kv === dtype || (device === 'cpu' && dtype === 'f32')) return
  throw new ConfigError(
    `${kv} is not for a model that computes in ${dtype} on ${device}: leave out --kv, or --device and --dtype`,
    { path: '--kv' },
  )
}

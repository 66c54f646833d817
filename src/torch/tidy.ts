// Lifetimes and modes, as callbacks: each is synchronous, because libtorch's modes belong to the thread and a scope
// left open across an await would swallow other code's tensors.

import { TorchError } from '../errors.ts'
import type { Device } from './dtype.ts'
import { native } from './native.ts'
import { inScope, leaveToCollector, scopeDepth } from './scopes.ts'
import { Tensor } from './tensor.ts'

/**
 * Runs `body` and frees every tensor made inside, except those in its result (also within arrays, plain objects,
 * maps and sets), which pass to the scope around it. Also frees when `body` throws.
 *
 * Autograd keeps what backward needs on its own, so freeing after forward is safe.
 *
 * @throws TorchError when `body` returns a promise: await between scopes, not inside one.
 */
export function tidy<T>(body: () => T): T {
  const result = inScope(
    () => refusePromise(body(), 'tidy'),
    value => tensorsIn(value).map(tensor => tensor.handle),
  )
  if (scopeDepth === 0) {
    for (const tensor of tensorsIn(result)) leaveToCollector(tensor, tensor.handle)
  }
  return result
}

/** Runs `body` without recording for backward. */
export function noGrad<T>(body: () => T): T {
  return withGradMode(false, body, 'noGrad')
}

/** Runs `body` with recording switched on again, inside a noGrad(). */
export function enableGrad<T>(body: () => T): T {
  return withGradMode(true, body, 'enableGrad')
}

/** Like noGrad(), and cheaper per operator; tensors made inside can never take part in autograd. */
export function inferenceMode<T>(body: () => T): T {
  return native().inferenceMode(() => refusePromise(body(), 'inferenceMode'))
}

/**
 * Runs `body` in mixed precision: matrix products and convolutions in `dtype`, sums and exponentials in f32, as
 * torch.autocast does. Run backward outside of it.
 */
export function autocast<T>(device: Device, dtype: 'bf16' | 'f16', body: () => T): T {
  return withAutocast(device, dtype, body, 'autocast')
}

/** Runs `body` without mixed precision, inside an autocast(): for routers and other small, delicate parts. */
export function fullPrecision<T>(device: Device, body: () => T): T {
  return withAutocast(device, null, body, 'fullPrecision')
}

function withAutocast<T>(device: Device, dtype: string | null, body: () => T, name: string): T {
  const type = device.split(':')[0] ?? device
  const addon = native()
  const before = addon.autocast(type)
  if (before === dtype) return refusePromise(body(), name)
  addon.setAutocast(type, dtype)
  try {
    return refusePromise(body(), name)
  } finally {
    addon.setAutocast(type, before)
    if (before === null) addon.clearAutocastCache()
  }
}

/** Every tensor reachable from `value` through arrays, plain objects, maps and sets. */
export function tensorsIn(value: unknown): Tensor[] {
  const found = new Set<Tensor>()
  collect(value, found, new Set())
  return [...found]
}

function collect(value: unknown, found: Set<Tensor>, seen: Set<object>): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return
  if (value instanceof Tensor) {
    found.add(value)
    return
  }
  if (seen.has(value)) return
  seen.add(value)
  const children = value instanceof Map || value instanceof Set ? value.values() : Object.values(value)
  for (const child of children) collect(child, found, seen)
}

function withGradMode<T>(enabled: boolean, body: () => T, name: string): T {
  const addon = native()
  const before = addon.setGradMode(enabled)
  try {
    return refusePromise(body(), name)
  } finally {
    addon.setGradMode(before)
  }
}

function refusePromise<T>(result: T, name: string): T {
  if (typeof (result as { then?: unknown } | null)?.then !== 'function') return result
  Promise.resolve(result).catch(() => {}) // the error below is the one to see
  throw new TorchError(
    `${name}() got an async function: make it synchronous and await outside of ${name}()`,
    {},
  )
}

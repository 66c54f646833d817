// Who frees a tensor: the tidy() scope it was made in, or, outside of any, the garbage collector.

import { type Handle, native } from './native.ts'

/** Open tidy() scopes of this thread. */
export let scopeDepth = 0

/**
 * Frees tensors whose JavaScript object was collected. A backstop only: callbacks run when the event loop turns,
 * never inside a synchronous loop, so loops want tidy().
 */
const collected = new FinalizationRegistry<Handle>(handle => native().release(handle))

/** Hands a tensor outside of any scope to the garbage collector. */
export function leaveToCollector(tensor: object, handle: Handle): void {
  collected.register(tensor, handle)
}

/** Opens a scope, runs `body`, and closes the scope keeping the handles that `keep` picks from the result. */
export function inScope<T>(body: () => T, keep: (result: T) => readonly Handle[]): T {
  const addon = native()
  let kept: readonly Handle[] = []
  addon.openScope()
  scopeDepth++
  try {
    const result = body()
    kept = keep(result)
    return result
  } finally {
    scopeDepth--
    addon.closeScope(kept)
  }
}

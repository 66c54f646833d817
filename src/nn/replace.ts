// Other modules in the place of a model's own: adapters around its linear layers, layers that compute from packed weights.

import { Module } from './module.ts'

/**
 * Puts what `replacement` gives in the place of the modules below `root`; undefined keeps one and goes on below it. A
 * replacement may hold the module that it stands for, and is not itself searched. It takes over whatever its parent calls,
 * and a module that stands in several places is replaced in each. On a model without memory (see `declared()`) nothing
 * of what is replaced is ever allocated.
 *
 * @param replacement given each module with its path
 * @returns the paths that were replaced
 */
export function replaceModules(
  root: Module,
  replacement: (module: Module, path: string) => Module | undefined,
): string[] {
  /** What stands for a module now: itself, if it was kept. */
  const standIns = new Map<Module, Module>()
  const replaced: string[] = []
  const search = (parent: object, prefix: string): void => {
    for (const [name, child] of Object.entries(parent)) {
      const path = prefix === '' ? name : `${prefix}.${name}`
      if (Array.isArray(child)) search(child, path)
      if (!(child instanceof Module)) continue
      const known = standIns.get(child)
      const standIn = known ?? replacement(child, path) ?? child
      standIns.set(child, standIn).set(standIn, standIn)
      if (standIn !== child) {
        Object.assign(parent, { [name]: standIn })
        replaced.push(path)
      } else if (!known) search(child, path)
    }
  }
  search(root, '')
  return replaced
}

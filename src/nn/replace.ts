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
  const made = new Map<Module, Module | undefined>()
  const replaced: string[] = []
  const placesOf = (parent: object, prefix: string): void => {
    for (const [name, child] of Object.entries(parent)) {
      const path = prefix === '' ? name : `${prefix}.${name}`
      if (Array.isArray(child)) placesOf(child, path)
      if (!(child instanceof Module)) continue
      if (!made.has(child)) made.set(child, replacement(child, path))
      const other = made.get(child)
      if (!other) {
        placesOf(child, path)
        continue
      }
      Object.assign(parent, { [name]: other })
      replaced.push(path)
    }
  }
  placesOf(root, '')
  return replaced
}

// Which type each tensor of a GGUF file gets, by what it is for: `experts=q4_k,router=f32,attention=q8_0`.

import { ConfigError } from '../../../errors.ts'
import { codecs, type GgmlTypeName, ggmlTypes } from '../../../formats/index.ts'
import type { Declaration, Role } from '../../../nn/index.ts'

/** What tensors are for, whose types can be chosen. */
export const tensorRoles = [
  'embedding',
  'attention',
  'router',
  'experts',
  'shared',
  'dense',
  'head',
] as const satisfies readonly Role[]
export type TensorRole = (typeof tensorRoles)[number]

/** A type for tensors of each role; vectors are always F32. */
export type TypeRules = Readonly<Record<TensorRole, GgmlTypeName>>

/** Types that can be written, the plain ones first. */
export const writableTypes: readonly GgmlTypeName[] = [
  ...(['F32', 'F16', 'BF16'] as const),
  ...(Object.keys(ggmlTypes) as GgmlTypeName[]).filter(type => codecs[type]?.encode !== undefined),
]

/**
 * Reads rules: a type for all, or `role=type` for some, or both, as `q8_0,experts=q4_k`. What is not named is F16, and the
 * router F32: its products decide, and it is small.
 *
 * @throws ConfigError naming the part that is wrong and what is possible
 */
export function parseTypeRules(text: string, path: string): TypeRules {
  const rules: Record<TensorRole, GgmlTypeName> = {
    embedding: 'F16',
    attention: 'F16',
    router: 'F32',
    experts: 'F16',
    shared: 'F16',
    dense: 'F16',
    head: 'F16',
  }
  const parts = text.split(',').map(part => part.trim())
  for (const part of parts.filter(part => !part.includes('='))) {
    const type = typeNamed(part, path)
    for (const role of tensorRoles) if (role !== 'router') rules[role] = type
  }
  for (const part of parts.filter(part => part.includes('='))) {
    const [role = '', name = ''] = part.split('=')
    if (!(tensorRoles as readonly string[]).includes(role))
      throw new ConfigError(`'${role}' is not one of ${tensorRoles.join(', ')}`, { path })
    rules[role as TensorRole] = typeNamed(name, path)
  }
  return rules
}

/**
 * Reads a list of types, as `q8_0,q4_k`.
 *
 * @throws ConfigError for one that cannot be written
 */
export function parseTypes(text: string, path: string): GgmlTypeName[] {
  return text.split(',').map(name => typeNamed(name.trim(), path))
}

function typeNamed(text: string, path: string): GgmlTypeName {
  const type = writableTypes.find(name => name === text.toUpperCase())
  if (type) return type
  const known = writableTypes.map(name => name.toLowerCase()).join(', ')
  throw new ConfigError(`'${text}' is not a type that can be written; these are: ${known}`, { path })
}

/** Norms, biases and the like, also those of each expert. */
export const isVector = ({ role, stacked }: Declaration, shape: readonly number[]): boolean =>
  role === 'norm' || shape.length < (stacked ? 3 : 2)

/** Types by what tensors are for; see typeFor(). */
export const typesByRules =
  (rules: TypeRules) =>
  ({ declaration, shape }: { declaration: Declaration; shape: readonly number[] }): GgmlTypeName =>
    typeFor(declaration, shape, rules)

/**
 * The type of a tensor whose parameter is declared so. A row that is no whole number of blocks falls back to Q8_0, or else
 * to F16; vectors, also those of each expert, are F32.
 */
export function typeFor(declaration: Declaration, shape: readonly number[], rules: TypeRules): GgmlTypeName {
  if (isVector(declaration, shape)) return 'F32'
  const wanted = rules[declaration.role as TensorRole]
  const row = shape.at(-1) ?? 1
  const candidates = [wanted, 'Q8_0', 'F16'] as const
  return candidates.find(type => row % ggmlTypes[type].blockSize === 0) ?? 'F16'
}

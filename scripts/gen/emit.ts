// TypeScript source for the entries of operators.txt.

import { camelCase, type Entry, type Overload, type Parameter } from './parse.ts'

const banner =
  '// DO NOT EDIT: made by `npm run gen` from scripts/gen/operators.txt and the schemas of libtorch 1.13.\n'

const reserved = new Set(['from', 'to', 'end', 'default', 'var', 'function'])

export function emitMethods(entries: Entry[]): string {
  const methods = entries.filter(entry => entry.section === 'methods')
  return `${banner}
import type { DType, Device, Scalar } from '../dtype.ts'
import type { Generator } from '../generator.ts'
import { call, type Handle } from '../native.ts'
import { Operator } from '../operator.ts'
import type { Tensor } from '../tensor.ts'

${methods.map(emitOperators).join('')}
/** libtorch's operators whose first argument is a tensor. */
export abstract class TensorMethods {
  abstract readonly handle: Handle

  protected abstract wrap(handle: Handle): Tensor
${methods.map(entry => emitEntry(entry)).join('')}}
`
}

export function emitFunctions(entries: Entry[]): string {
  const functions = entries.filter(entry => entry.section === 'functions')
  return `${banner}
import type { DType, Device, Scalar } from '../dtype.ts'
import type { Generator } from '../generator.ts'
import { call, type Handle } from '../native.ts'
import { Operator } from '../operator.ts'
import { Tensor } from '../tensor.ts'

${functions.map(emitOperators).join('')}
const wrap = (handle: Handle): Tensor => new Tensor(handle)
${functions.map(entry => emitEntry(entry)).join('')}`
}

function constantOf({ operator, overload }: Overload): string {
  const name = operator.replace('aten::', '').replace('::', '_').replace(/^_+/, '')
  return `${camelCase(name)}${overload && `_${overload}`}Op`
}

function emitOperators(entry: Entry): string {
  return entry.overloads
    .map(overload => {
      const tag = overload.overload && `, '${overload.overload}'`
      return `const ${constantOf(overload)} = new Operator('${overload.operator}'${tag})\n`
    })
    .join('')
}

function emitEntry(entry: Entry): string {
  const isMethod = entry.section === 'methods'
  const overloads = alignNames(entry.overloads).map(overload => ({
    ...overload,
    shown: overload.parameters.slice(isMethod ? 1 : 0).filter(parameter => !parameter.fixed),
  }))
  const indent = isMethod ? '  ' : ''
  const keyword = isMethod ? '' : 'export function '
  const doc = `${indent}/** ${entry.overloads.map(o => `\`${o.schema}\``).join(`\n${indent} *  `)} */\n`
  const returnTypes = new Set(overloads.map(overload => returnType(overload)))
  const separate = returnTypes.size > 1
  const signatures = separate
    ? overloads.map(
        o => `${indent}${keyword}${entry.name}(${o.shown.map(signature).join(', ')}): ${returnType(o)}\n`,
      )
    : []
  const merged = mergeParameters(overloads.map(overload => overload.shown))
  const body = overloads.map((overload, i) => {
    const next = overloads[i + 1]
    const guard = next ? guardBetween(overload.shown, next.shown) : undefined
    const result = emitCall(overload, isMethod)
    return guard ? `${indent}  if (${guard}) return ${result}\n` : `${indent}  return ${result}\n`
  })
  const type = [...returnTypes].join(' | ')
  return `\n${doc}${signatures.join('')}${indent}${keyword}${entry.name}(${merged.map(signature).join(', ')}): ${type} {\n${body.join('')}${indent}}\n`
}

function returnType({ returns, inPlace }: Overload): string {
  if (inPlace) return 'this'
  if (returns === '()') return 'void'
  const single: Record<string, string> = {
    Tensor: 'Tensor',
    'Tensor[]': 'Tensor[]',
    bool: 'boolean',
    int: 'number',
    float: 'number',
  }
  const known = single[returns]
  if (known) return known
  if (/^\((Tensor( \w+)?(, )?)+\)$/.test(returns)) return `[${returns.match(/Tensor/g)?.join(', ')}]`
  throw new Error(`no TypeScript form for a return of ${returns}`)
}

function emitCall(overload: Overload, isMethod: boolean): string {
  const args = overload.parameters.map((parameter, i) =>
    isMethod && i === 0 ? 'this.handle' : argument(parameter),
  )
  while (args.at(-1) === 'undefined') args.pop()
  const text = `call(${[`${constantOf(overload)}.id`, ...args].join(', ')})`
  const wrap = isMethod ? 'this.wrap' : 'wrap'
  const type = returnType(overload)
  if (type === 'this') return `${text}, this`.replace(/^/, '(').concat(')')
  if (type === 'void') return `void ${text}`
  if (type === 'Tensor') return `${wrap}(${text} as Handle)`
  if (type === 'Tensor[]') return `(${text} as Handle[]).map(handle => ${wrap}(handle))`
  if (type.startsWith('[')) return `(${text} as Handle[]).map(handle => ${wrap}(handle)) as ${type}`
  return `${text} as ${type}`
}

/** How a TypeScript argument reaches native code: tensors and generators as numbers. */
function argument({ name, type, fixed, optional }: Parameter): string {
  if (fixed) return fixed
  const id = identifier(name)
  if (type === 'Tensor') return `(${id} as Tensor).handle`
  if (type === 'Tensor?') return `(${id} as Tensor | null | undefined)?.handle ?? null`
  if (type === 'Tensor[]') return `${id}.map(tensor => tensor.handle)`
  if (type === 'Tensor?[]') return `${id}.map(tensor => tensor?.handle ?? null)`
  if (type === 'Generator?') return `${id}?.id ?? null`
  return type.endsWith('?') && !optional ? `${id} ?? null` : id
}

function signature({ name, type, optional }: Parameter): string {
  return `${identifier(name)}${optional ? '?' : ''}: ${typeScriptType(type)}${type.endsWith('?') ? ' | null' : ''}`
}

function identifier(name: string): string {
  const id = camelCase(name)
  return reserved.has(id) ? `${id}_` : id
}

function typeScriptType(type: string): string {
  const types: Record<string, string> = {
    Tensor: 'Tensor',
    Scalar: 'Scalar',
    int: 'number',
    float: 'number',
    bool: 'boolean',
    str: 'string',
    ScalarType: 'DType',
    Device: 'Device',
    Generator: 'Generator',
    'int[]': 'readonly number[]',
    'int[1]': 'number | readonly number[]',
    'Tensor[]': 'readonly Tensor[]',
    'Tensor?[]': 'readonly (Tensor | null)[]',
  }
  if (type.includes(' | ')) return type
  const known = types[type.replace(/\?$/, '')]
  if (!known) throw new Error(`no TypeScript form for ${type}`)
  return known
}

/** Gives parameters at the same place one name: scatter calls its fourth `src` or `value`. */
function alignNames(overloads: Overload[]): Overload[] {
  const names = overloads
    .map(overload => overload.parameters)
    .flatMap(list => list.map(({ name }, i) => [i, name] as const))
  const nameAt = new Map([...names].reverse())
  const aligned =
    overloads.length > 1 && new Set(overloads.map(overload => overload.parameters.length)).size === 1
  if (!aligned) return overloads
  return overloads.map(overload => ({
    ...overload,
    parameters: overload.parameters.map((parameter, i) => ({
      ...parameter,
      name: nameAt.get(i) ?? parameter.name,
    })),
  }))
}

/** The widest signature over all overloads of one name. */
function mergeParameters(lists: Parameter[][]): Parameter[] {
  const longest = lists.reduce((a, b) => (b.length > a.length ? b : a))
  return longest.map((parameter, i) => {
    const types = new Set(lists.flatMap(list => (list[i] ? [typeScriptType(list[i].type)] : [])))
    const optional = lists.some(list => list[i] === undefined || list[i].optional)
    return { ...parameter, optional, ...(types.size > 1 && { type: [...types].join(' | ') }) }
  })
}

/** A test on the first argument in which two overloads differ; true selects the first. */
function guardBetween(first: Parameter[], second: Parameter[]): string {
  const i = second.findIndex((parameter, at) => first[at]?.type !== parameter.type)
  const mine = first[i]
  const id = identifier((mine ?? second[i])?.name ?? '')
  if (!mine || (mine.type === 'ScalarType?' && second[i]?.type === 'int'))
    return `${identifier(second[i]?.name ?? '')} === undefined`
  if (mine.type === 'Tensor') return `typeof ${id} === 'object'`
  throw new Error(`cannot tell ${mine.type} from ${second[i]?.type} of ${id}`)
}

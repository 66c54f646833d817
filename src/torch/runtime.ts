// The libtorch underneath: what it is, what it holds, how many threads it uses, and any of its operators by name.

import { TorchError } from '../errors.ts'
import { Generator } from './generator.ts'
import { native, type OperatorSchema, type RuntimeInfo } from './native.ts'
import { Operator } from './operator.ts'
import { Tensor } from './tensor.ts'

export interface MemoryUse {
  /** Live tensor handles of this thread. */
  tensors: number
  /** CPU bytes of all tensors of the process, also those that only autograd still holds. */
  bytes: number
  /** The most that `bytes` ever was, or since resetPeakMemory(). */
  peakBytes: number
  /** CPU bytes of the process that are kept for coming tensors; emptyCache() gives them back. */
  cachedBytes: number
  /** Open tidy() scopes of this thread. */
  scopes: number
}

/** Tensors that are alive, and their bytes. */
export function memoryUse(): MemoryUse {
  return native().memory()
}

export function resetPeakMemory(): void {
  native().resetPeak()
}

/** Gives memory that is kept for coming tensors back to the system. */
export function emptyCache(): void {
  native().emptyCache()
}

/**
 * No more than so many bytes of the process are kept for coming tensors until the limit is disposed of; of several limits, also
 * those of other threads, the lowest holds. Without any it is half of the most that was ever in use.
 */
export function limitCache(bytes: number): Disposable {
  native().limitCache(bytes)
  let holds = true
  return {
    [Symbol.dispose]() {
      if (holds) native().unlimitCache(bytes)
      holds = false
    },
  }
}

/** Version, BLAS, CUDA and threads of the libtorch in use. */
export function runtimeInfo(): RuntimeInfo {
  return native().info()
}

/**
 * Threads of the process.
 *
 * @param operators for libtorch's own loops
 * @param blas for matrix products, when OpenBLAS computes them; default: as many
 */
export function setThreads(operators: number, blas = operators): void {
  native().setThreads(operators, blas)
}

/** Whether this libtorch has an operator, as in `aten::_grouped_mm`. */
export function hasOperator(name: string): boolean {
  try {
    return parse(name).id >= 0
  } catch (error) {
    if (error instanceof TorchError) return false
    throw error
  }
}

/** Every operator of this libtorch by name. */
export function operatorNames(): string[] {
  return native().operatorNames()
}

/** Loads a shared library whose operators register themselves, for callOperator(). Throws SwitchyardError when it does not load. */
export function loadOperators(path: string): void {
  native().loadOperators(path)
}

/**
 * Calls any operator by name, with arguments in the order of its schema. Tensors go in and come out as Tensor; an
 * argument left out or undefined takes the schema's default; null is None.
 *
 * @example callOperator('aten::addmm', bias, x, weight)
 * @example callOperator('aten::max.dim', x, 1) as [Tensor, Tensor]
 */
export function callOperator(name: string, ...args: unknown[]): unknown {
  const operator = parse(name)
  const { parameters, returns, returnsSelf } = operator.schema
  const raw = args.map((value, i) => unwrap(value, name, parameters[i]))
  const result = native().call(operator.id, ...raw)
  if (returnsSelf) return args[0]
  if (returns.length > 1) return (result as unknown[]).map((item, i) => wrap(item, returns[i]))
  return wrap(result, returns[0])
}

function parse(name: string): Operator {
  const match = /^(\w+::\w+)(?:\.(\w+))?$/.exec(name)
  if (!match?.[1]) throw new TorchError(`'${name}' is no operator name; names look like aten::add.Tensor`, {})
  return new Operator(match[1], match[2])
}

/** Native code knows tensors and generators by number: only where one is wanted may one, and nothing else, be given. */
function unwrap(value: unknown, operator: string, parameter?: OperatorSchema['parameters'][number]): unknown {
  if (Array.isArray(value)) return value.map(item => unwrap(item, operator, parameter))
  const type = parameter?.type ?? ''
  if (value instanceof Tensor && type.startsWith('Tensor')) return value.handle
  if (value instanceof Generator && type.startsWith('Generator')) return value.id
  if (typeof value !== 'number' || !/^(Tensor|Generator)/.test(type)) return value
  const [wanted] = type.split(/\W/)
  throw new TorchError(`'${parameter?.name}' must be a ${wanted}, got ${value}`, { operator, args: ['...'] })
}

function wrap(value: unknown, type = ''): unknown {
  if (type.startsWith('Tensor') && typeof value === 'number') return new Tensor(value)
  return Array.isArray(value) ? value.map(item => wrap(item, type.replace(/\[\]$/, ''))) : value
}

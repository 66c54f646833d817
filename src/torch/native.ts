// The only importer of the native addon, which is loaded at the first use: it costs a second, and commands that
// do not compute must not pay it.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { ConfigError, DisposedTensorError, OutOfMemoryError, SwitchyardError, TorchError } from '../errors.ts'
import { prepareEnvironment } from './environment.ts'

/** A tensor as native code knows it. */
export type Handle = number

/** What native/binding/addon.cc exports. */
export interface Native {
  call(operator: number, ...args: unknown[]): unknown
  resolve(name: string, overload: string): number
  schema(operator: number): OperatorSchema
  operatorNames(): string[]
  setErrorFactory(make: (kind: string, message: string, operator: string, args: string[]) => Error): void

  fromBytes(data: NodeJS.TypedArray, sizes: readonly number[], dtype: string, share: boolean): Handle
  copyTo(tensor: Handle, data: NodeJS.TypedArray): void
  share(tensor: Handle): ArrayBuffer
  item(tensor: Handle): number | bigint | boolean
  sizes(tensor: Handle): number[]
  strides(tensor: Handle): number[]
  dtype(tensor: Handle): string
  device(tensor: Handle): string
  numel(tensor: Handle): number
  describe(tensor: Handle): string
  isContiguous(tensor: Handle): boolean
  kernelsKnow(...tensors: Handle[]): boolean
  kernelsNarrow(...tensors: Handle[]): boolean
  storageId(tensor: Handle): number

  release(tensor: Handle): void
  alive(tensor: Handle): boolean
  persist(tensor: Handle): void
  openScope(): void
  closeScope(kept: readonly Handle[]): void

  grad(tensor: Handle): Handle | null
  gradOf(
    output: Handle,
    inputs: readonly Handle[],
    weight: Handle | null,
    retainGraph: boolean,
    createGraph: boolean,
  ): (Handle | null)[]
  setGrad(tensor: Handle, gradient: Handle | null): void
  requiresGrad(tensor: Handle): boolean
  isLeaf(tensor: Handle): boolean
  setGradMode(enabled: boolean): boolean
  inferenceMode<T>(callback: () => T): T
  autocast(device: string): string | null
  setAutocast(device: string, dtype: string | null): void
  clearAutocastCache(): void

  isRecording(tensors: readonly Handle[]): boolean
  recomputed(
    inputs: readonly Handle[],
    outputs: readonly Handle[],
    again: (inputs: Handle[], gradients: (Handle | null)[]) => void,
  ): boolean[]
  backwardFrom(outputs: readonly Handle[], gradients: readonly Handle[]): void

  mapFile(path: string): { id: number; size: number }
  mappedTensor(id: number, offset: number, sizes: readonly number[], dtype: string): Handle
  forgetPages(id: number): void
  unmapFile(id: number): void
  memory(): { tensors: number; bytes: number; peakBytes: number; cachedBytes: number; scopes: number }
  resetPeak(): void
  emptyCache(): void
  limitCache(bytes: number): void
  unlimitCache(bytes: number): void

  profile(callback: () => void, onDevice: boolean): OperatorTime[]

  record(callback: () => readonly Handle[]): NativeTape | string
  refuseTape(why: string): void
  releaseTape(tape: NativeTape): void
  play(tape: NativeTape): Handle[]

  info(): RuntimeInfo
  setThreads(operators: number, blas: number): void
  setDefaultThreads(operators: number, blas: number): void
  loadOperators(path: string): void
  generator(seed: number | null, device: string): number
  releaseGenerator(generator: number): void
  seedGenerator(generator: number, seed: number): void
  generatorState(generator: number): Handle
  setGeneratorState(generator: number, state: Handle): void

  /** In a build with CUDA. */
  cuda?: NativeCuda
}

/** Objects that only native code looks into. */
export type NativeStream = object & { readonly __stream?: never }
export type NativeEvent = object & { readonly __event?: never }
export type NativeGraph = object & { readonly __graph?: never }
export type NativeTape = object & { readonly __tape?: never }

/** The CUDA runtime; devices by number, null for the current stream. */
export interface NativeCuda {
  properties(device: number): { name: string; memory: number; multiprocessors: number; capability: string }
  memory(device: number): { allocated: number; peak: number; reserved: number; free: number; total: number }
  resetPeak(device: number): void
  emptyCache(): void
  limitCache(bytes: number): void
  limitMemory(fraction: number, device: number): void
  synchronize(device: number): void
  stream(device: number): NativeStream
  onStream<T>(stream: NativeStream, callback: () => T): T
  record(stream: NativeStream | null, timed: boolean): NativeEvent
  block(event: NativeEvent, stream: NativeStream | null): void
  isDone(event: NativeEvent): boolean
  waitFor(event: NativeEvent): void
  elapsed(first: NativeEvent, second: NativeEvent): number
  usedOn(tensor: Handle, stream: NativeStream | null): void
  graph(): NativeGraph
  capture(graph: NativeGraph, callback: () => void): void
  refuseWaits(callback: () => void): void
  replay(graph: NativeGraph): void
  resetGraph(graph: NativeGraph): void
  pinned(sizes: readonly number[], dtype: string): Handle
}

/** An operator's schema as libtorch declares it. */
export interface OperatorSchema {
  name: string
  text: string
  returnsSelf: boolean
  parameters: { name: string; type: string; required: boolean; keywordOnly: boolean }[]
  returns: string[]
}

/** What one operator took, without the operators that it called. */
export interface OperatorTime {
  name: string
  calls: number
  hostSeconds: number
  /** 0 unless the device was watched. */
  deviceSeconds: number
}

/** The libtorch that was found. */
export interface RuntimeInfo {
  version: string
  cuda: boolean
  /** The matrix library: OpenBLAS's own description, `MKL`, or `reference` (about 50 times slower). */
  blas: string
  threads: number
  blasThreads: number
}

let loaded: Native | undefined

/** The addon, loaded on first use. */
export function native(): Native {
  loaded ??= load()
  return loaded
}

/** `call` of the loaded addon; before that, a stub that loads it. A live binding: importers see the switch. */
export let call: Native['call'] = (operator, ...args) => native().call(operator, ...args)

function load(): Native {
  prepareEnvironment()
  const addon = openAddon()
  addon.setErrorFactory(toError)
  const { blas } = addon.info()
  if (blas === 'reference') {
    process.emitWarning(
      'libtorch computes with the reference BLAS, about 50 times slower than OpenBLAS; ' +
        'fix: apt-get install -y --no-install-recommends libopenblas0-pthread',
    )
  }
  setDefaultThreads(addon)
  call = addon.call
  return addon
}

/** src/torch and dist/torch both lie two levels below the package. */
const inPackage = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

function openAddon(): Native {
  const path = process.env.SWITCHYARD_ADDON ?? inPackage('build/native/switchyard.node')
  const remedy = `build it with: node ${inPackage('scripts/build-native.mjs')}`
  if (!existsSync(path))
    throw new SwitchyardError(`the native addon is not built (${path} is missing); ${remedy}`)
  try {
    return createRequire(import.meta.url)(path) as Native
  } catch (cause) {
    const reason = (cause as Error).message.split('\n')[0]
    throw new SwitchyardError(
      `the native addon does not load (${reason}): libtorch or Node has changed; ${remedy}`,
      {
        cause,
      },
    )
  }
}

/** SWITCHYARD_THREADS, else every core, for libtorch's loops and for BLAS. A later worker changes nothing. */
function setDefaultThreads(addon: Native): void {
  const { SWITCHYARD_THREADS: wanted } = process.env
  const threads = wanted ? Number(wanted) : availableParallelism()
  if (!(Number.isInteger(threads) && threads >= 1 && threads <= 1024)) {
    throw new ConfigError(`must be a whole number from 1 to 1024, got '${wanted}'`, {
      path: 'SWITCHYARD_THREADS',
    })
  }
  addon.setDefaultThreads(threads, threads)
}

function toError(kind: string, message: string, operator: string, args: string[]): Error {
  const context = { operator, args }
  if (kind === 'disposed') return new DisposedTensorError(context)
  if (kind === 'memory') return new OutOfMemoryError(message, context)
  if (kind === 'file') return new SwitchyardError(message)
  return new TorchError(message, context)
}

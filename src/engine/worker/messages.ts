// What an engine in a worker thread and whoever uses it say to each other.

import { BusyError, ConfigError, StoppedError, SwitchyardError } from '../../errors.ts'
import type { EngineFacts, EngineOptions, EngineStatus } from '../batching/engine.ts'
import type { TextPart, TextRequest } from '../batching/request.ts'

/** What a worker is started with. */
export interface WorkerStart {
  path: string
  options: EngineOptions
}

/** To the engine. Numbers tell requests apart. */
export type ToEngine =
  | { kind: 'generate'; id: number; request: TextRequest }
  | { kind: 'cancel'; id: number }
  | { kind: 'status'; id: number }
  | { kind: 'close' }

/** From it. */
export type FromEngine =
  | { kind: 'ready'; facts: EngineFacts }
  | { kind: 'failed'; error: PlainError }
  | { kind: 'part'; id: number; part: TextPart }
  | { kind: 'error'; id: number; error: PlainError }
  | { kind: 'status'; id: number; status: EngineStatus }

/** An error as plain data, of which those that users meet are made again. */
export interface PlainError {
  name: string
  message: string
  path?: string
  waiting?: number
}

export function plainError(error: unknown): PlainError {
  if (error instanceof ConfigError) return { name: error.name, message: error.problem, path: error.path }
  if (error instanceof BusyError) return { name: error.name, message: error.message, waiting: error.waiting }
  if (error instanceof SwitchyardError) return { name: error.name, message: error.message }
  return { name: 'Error', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}

export function errorOf({ name, message, path, waiting }: PlainError): Error {
  if (path !== undefined) return new ConfigError(message, { path })
  if (waiting !== undefined) return new BusyError(waiting)
  if (name === 'StoppedError') return new StoppedError(message)
  return name === 'Error' ? new Error(message) : new SwitchyardError(message)
}

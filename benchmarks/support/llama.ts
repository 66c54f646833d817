// llama.cpp as the interop test fetches it (make test-interop, scripts/bench.sh): a peer that need not be there.

import { existsSync } from 'node:fs'

const entry = new URL('../../tests/interop/node_modules/node-llama-cpp/dist/index.js', import.meta.url)

/** Whether it was fetched. */
export const hasLlama = existsSync(entry)

/** What benchmarks use of node-llama-cpp, whose own types are not there before it is fetched. */
export interface NodeLlama {
  getLlama(options: object): Promise<Llama>
}

export interface Llama {
  loadModel(options: object): Promise<LlamaModel>
}

export interface LlamaModel {
  createContext(options: object): Promise<LlamaContext>
  dispose(): Promise<void>
}

export interface LlamaContext {
  getSequence(): LlamaSequence
  dispose(): Promise<void>
}

export interface LlamaSequence {
  readonly nextTokenIndex: number
  evaluate(tokens: readonly number[], options: object): AsyncGenerator<number, void>
  clearHistory(): Promise<void>
}

/** On the CPU alone, and silent. */
export async function openLlama(threads: number): Promise<Llama> {
  const { getLlama } = (await import(entry.href)) as NodeLlama
  return getLlama({
    ...{ build: 'never', gpu: false, skipDownload: true, logLevel: 'error' },
    maxThreads: threads,
  })
}

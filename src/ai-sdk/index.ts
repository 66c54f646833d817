// Models of this machine for the AI SDK (the packages `ai` and `@ai-sdk/provider`), without a server.

import type { EngineOptions } from '../engine/index.ts'
import { SwitchyardModel } from './language-model.ts'

export { SwitchyardModel }

/** Models by path, each of which is loaded once. */
export interface SwitchyardProvider {
  (path: string): SwitchyardModel
  languageModel(path: string): SwitchyardModel
  /** Frees all models; the process can end then. */
  close(): Promise<void>
}

/**
 * A provider of its own.
 *
 * @param options of the engine of each model
 */
export function createSwitchyard(options: EngineOptions = {}): SwitchyardProvider {
  const models = new Map<string, SwitchyardModel>()
  const languageModel = (path: string): SwitchyardModel => {
    const model = models.get(path) ?? new SwitchyardModel(path, options)
    models.set(path, model)
    return model
  }
  const close = async (): Promise<void> => {
    await Promise.all([...models.values()].map(model => model.close()))
  }
  return Object.assign((path: string) => languageModel(path), { languageModel, close })
}

/**
 * Models with the engine's default options.
 *
 * @example
 * const { textStream } = streamText({ model: switchyard('runs/tiny'), prompt: 'What is a router?' })
 */
export const switchyard: SwitchyardProvider = createSwitchyard()

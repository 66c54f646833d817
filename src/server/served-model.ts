// The models that a server has: who writes, and how text becomes tokens.

import type { Tokenizer } from '../data/index.ts'
import type { TextEngine } from '../engine/index.ts'
import { modelName, type OpenedModel } from '../models/index.ts'
import { ApiError, wrongField } from './api-error.ts'
import { ChatTemplate } from './chat-template.ts'

export interface ServedModel {
  /** What clients call it. */
  id: string
  /** Seconds since 1970 at which it was opened. */
  created: number
  engine: TextEngine
  tokenizer: Tokenizer
  /** How it writes conversations; null where it says nothing of it. */
  template: ChatTemplate | null
}

/** @param id default: the name of its run, download, folder or file */
export function servedModel(
  { path, tokenizer, template }: Pick<OpenedModel, 'path' | 'tokenizer' | 'template'>,
  engine: TextEngine,
  id = modelName(path),
): ServedModel {
  return {
    ...{ id, created: Math.floor(Date.now() / 1000), engine, tokenizer },
    template: template === null ? null : new ChatTemplate(template, tokenizer),
  }
}

/** The model that a request names; where there is only one, it may leave that out. @throws ApiError */
export function modelOf(models: readonly ServedModel[], asked: string | undefined): ServedModel {
  const there = models.map(({ id }) => `'${id}'`).join(', ')
  const found = asked === undefined ? models.length === 1 && models[0] : models.find(({ id }) => id === asked)
  if (found) return found
  if (asked === undefined) throw wrongField('model', `is needed: there are ${there}`)
  throw new ApiError(404, `the model '${asked}' does not exist here; there is ${there}`, {
    param: 'model',
    code: 'model_not_found',
  })
}

// How a family of models writes calls of functions. Which family it is shows in the chat template itself.

import { literal, type Rules, sequence } from '../../engine/index.ts'
import type { Input, Reading } from './input.ts'

/** A function that may be called, and the rule of a grammar that derives its arguments. */
export interface CallableTool {
  name: string
  argumentsRule: string
}

/** What makes a model call a function. */
export interface ForcedCall {
  /** What its answer begins with. */
  opening: string
  /** The rule that derives the rest. */
  rule: string
}

export interface ToolFormat {
  /** Whether a chat template writes calls so. */
  isIn(template: string): boolean
  /** Special tokens that calls are written with. */
  specials: readonly string[]
  /** Texts that end an answer. */
  stops?: readonly string[]
  /** Reads an answer: text, and calls. */
  read(input: Input): Reading
  /** Calls of one of some functions, or with `isMany` of several. */
  force(tools: readonly CallableTool[], rules: Rules, isMany: boolean): ForcedCall
}

/** `{"name": "f", "arguments": ...}`, where `key` is what they are called. */
export const callObject = (key: string, { name, argumentsRule }: CallableTool): string =>
  sequence(literal(`{"name": ${JSON.stringify(name)}, "${key}": `), argumentsRule, literal('}'))

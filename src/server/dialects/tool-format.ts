// How a family of models writes calls of functions. Which family it is shows in the chat template itself.

import { literal, type Rules, sequence } from '../../engine/index.ts'
import type { Input, Reading } from './input.ts'
import type { Schema } from './parameter-schema.ts'

/** A function as it is offered. */
export interface OfferedTool {
  name: string
  /** The schema of its arguments. */
  parameters?: Schema | undefined
}

/** What is known of a function that a model names, which may be nothing. */
export const toolNamed = (name: string, tools: readonly OfferedTool[]): OfferedTool =>
  tools.find(tool => tool.name === name) ?? { name }

/** A function that is to be called. Rules are parts of a grammar, and are made when they are asked for. */
export interface CallableTool {
  name: string
  parameters: Schema
  /** How errors call its schema. */
  path: string
  /** Derives its arguments as JSON. */
  rule(): string
  /** Derives one of them. */
  partRule(name: string): string
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
  /** Reads an answer: text, and calls of functions that are offered. */
  read(input: Input, tools: readonly OfferedTool[]): Reading
  /** Calls of one of some functions, or with `isMany` of several. */
  force(tools: readonly CallableTool[], rules: Rules, isMany: boolean): ForcedCall
}

/** `{"name": "f", "arguments": ...}`, where `key` is what they are called. */
export const callObject = (key: string, { name, rule }: CallableTool): string =>
  sequence(literal(`{"name": ${JSON.stringify(name)}, "${key}": `), rule(), literal('}'))

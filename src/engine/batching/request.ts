// What is asked of an engine, and what it answers.

import type { GrowthOptions, StopReason, TokenProbabilities, WrittenToken } from '../../models/index.ts'
import type { TextGrammar } from '../grammar/text-grammar.ts'

/** A text that is wanted. All of it is plain data. */
export interface TextRequest extends GrowthOptions {
  /** Text, or at least one token id. */
  prompt: string | readonly number[]
  /** Whether a text has its special tokens written out, as chat templates do. Default false: they are added. */
  isTemplated?: boolean
  /** The text ends before the first of these that appears. */
  stop?: readonly string[]
  /** Special tokens by name that are written out where they come; others stand for no text. Default: none. */
  shownSpecials?: readonly string[]
  /** The form that the text must have. Default: any. */
  grammar?: TextGrammar
  /** How many of the likeliest tokens to report at each place of the prompt; 0: its own probability alone. Default: nothing. */
  promptLogprobs?: number
  /** Whether to report the prompt's embedding. What is kept of earlier prompts is not used then. Default false. */
  embedding?: boolean
  /** Experts of each of its tokens, those that count most: see serveFewer(). Default: as many as the router chooses. */
  expertsPerToken?: number
  /** Within a budget, what becomes of experts that are not in memory: see OnMiss. Default: what the engine does for all. */
  onMiss?: 'read' | 'resident'
  /** Whether to report which experts its tokens pass. What is kept of earlier prompts is not used then. Default false. */
  routing?: boolean
  /** Milliseconds after which the text ends as it is then, be it empty; it may have waited until then. Default: none. */
  deadlineMs?: number
  /** Whose request it is: those who ask get their turns one after the other. Default: nobody's. */
  key?: string
  /** Requests of a higher one go first. Default 0. */
  priority?: number
}

/** A piece of an answer: what became certain with one token, and with the last one how it ended. */
export interface TextPart {
  /** Whole characters, and nothing that may turn out to be the beginning of a stop text. */
  text: string
  tokens: readonly WrittenToken[]
  /** The prompt as it was read, before any token, where `promptLogprobs` asks for it. */
  prompt?: PromptRead
  /** Once the prompt was read, where `embedding` asks for it: the mean of its hidden states, [D] of length 1. */
  embedding?: Float32Array
  /** What the model has read since the part before, where `routing` asks for it. The last token of a text is never read. */
  routing?: RoutedTokens
  end?: TextEnd
}

/** Which experts tokens passed. */
export interface RoutedTokens {
  /** Layers whose tokens choose experts. */
  layers: readonly number[]
  tokens: readonly RoutedToken[]
}

export interface RoutedToken {
  id: number
  /** Of each layer, and how much the output of each of them counted. */
  experts: readonly (readonly number[])[]
  weights: readonly (readonly number[])[]
}

export interface PromptRead {
  ids: readonly number[]
  /** Of each id; null for the first, which nothing precedes. */
  probabilities: readonly (TokenProbabilities | null)[]
}

export interface TextEnd {
  reason: StopReason
  /** The stop text that ended it, where one did. */
  stopText?: string
  promptTokens: number
  /** Of them, those whose keys and values were there already. */
  cachedTokens: number
  /** New tokens, of which a stop text may have cut some off the text. */
  newTokens: number
  seconds: TextSeconds
}

/** How long a text took. */
export interface TextSeconds {
  /** Until it had a place. */
  queued: number
  /** From then to the first scores after the prompt. */
  prompt: number
  /** And to its end. */
  writing: number
}

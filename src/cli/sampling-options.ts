// How tokens are picked: the options that generate and chat share.

import type { Command } from 'commander'
import { ConfigError } from '../errors.ts'
import type { GenerateOptions } from '../models/index.ts'
import { numberOf, wholeNumberOf } from './values.ts'

/** The values of these options by name: what a search for the likeliest text does without. */
export const drawing = [
  'temperature',
  'topK',
  'topP',
  'minP',
  'typical',
  'repetitionPenalty',
  'presencePenalty',
  'frequencyPenalty',
  'logitBias',
  'seed',
] as const satisfies readonly (keyof GenerateOptions)[]

/** Adds the options; their values have the names of SamplingOptions. */
export function withSamplingOptions(command: Command): Command {
  return command
    .option('--temperature <t>', '0 takes the likeliest token', numberOf('--temperature', { least: 0 }), 0.8)
    .option('--top-k <k>', 'only the k likeliest tokens; 0: all', wholeNumberOf('--top-k'), 0)
    .option(
      '--top-p <p>',
      'only the likeliest tokens that make up p',
      numberOf('--top-p', { above: 0, most: 1 }),
      1,
    )
    .option(
      '--min-p <p>',
      'no token less likely than p times the likeliest',
      numberOf('--min-p', { least: 0, most: 1 }),
      0,
    )
    .option(
      '--typical <p>',
      'only tokens about as surprising as the average, that make up p',
      numberOf('--typical', { above: 0, most: 1 }),
      1,
    )
    .option(
      '--repetition-penalty <x>',
      'above 1: used tokens become less likely',
      numberOf('--repetition-penalty', { above: 0 }),
      1,
    )
    .option('--presence-penalty <x>', 'off the scores of written tokens', numberOf('--presence-penalty'), 0)
    .option('--frequency-penalty <x>', 'the same, for each time written', numberOf('--frequency-penalty'), 0)
    .option('--logit-bias <id=x...>', 'added to the scores of tokens, as 13=-100', biases)
    .option('--seed <n>', 'the same seed gives the same text', wholeNumberOf('--seed'), 0)
}

function biases(text: string, before: Record<number, number> = {}): Record<number, number> {
  const [, id, bias] = /^(\d+)=(-?[\d.]+)$/.exec(text) ?? []
  if (id === undefined || !Number.isFinite(Number(bias)))
    throw new ConfigError(`must be ID=NUMBER as 13=-100, got '${text}'`, { path: '--logit-bias' })
  return { ...before, [id]: Number(bias) }
}

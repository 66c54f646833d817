// What may differ when a run goes on.

import { isDeepStrictEqual } from 'node:util'
import { ConfigError } from '../errors.ts'
import { isGroup } from '../group.ts'
import type { Recipe } from './recipe/schema.ts'

/** These change nothing that has happened. What `data.path` leads to is compared by its content. */
const changeable = [
  'steps',
  'schedule',
  'clip',
  'evaluation',
  'sampling',
  'checkpoint',
  'logging',
  'maxBadSteps',
  'recompute',
  'graph',
  'optimizer.learningRate',
  'data.path',
]

/** Throws ConfigError naming the first setting whose change would make another run, with both values. */
export function refuseOtherPast(saved: Recipe, wanted: Recipe, run: string): void {
  for (const { path, before, now } of differences(saved, wanted)) {
    if (changeable.some(name => path === name || path.startsWith(`${name}.`))) continue
    throw new ConfigError(
      `${show(now)} here, but ${show(before)} in ${run}: leave it as it was, or start a new run`,
      { path },
    )
  }
}

interface Difference {
  path: string
  before: unknown
  now: unknown
}

function* differences(before: unknown, now: unknown, path: readonly string[] = []): Generator<Difference> {
  if (isDeepStrictEqual(before, now)) return
  if (!isGroup(before) || !isGroup(now)) {
    yield { path: path.join('.'), before, now }
    return
  }
  for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
    yield* differences(before[key], now[key], [...path, key])
  }
}

const show = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value))

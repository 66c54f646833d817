// Which parameters are trained how: router, experts, norms, embeddings, and the rest.

import { z } from 'zod'
import type { Parameter } from '../../nn/index.ts'
import type { ParameterGroup } from './adamw.ts'

export const groupNames = ['router', 'experts', 'norms', 'embeddings', 'other'] as const
export type GroupName = (typeof groupNames)[number]

const group = z.strictObject({
  /** Factor of the learning rate. */
  scale: z.number().nonnegative().default(1),
  /** Default: the optimizer's. */
  weightDecay: z.number().nonnegative().optional(),
})

/** Norms are scales, which decay would pull to zero: by default they have none. */
export const groupsSchema = z.strictObject({
  router: group.prefault({}),
  experts: group.prefault({}),
  norms: group.prefault({ weightDecay: 0 }),
  embeddings: group.prefault({}),
  other: group.prefault({}),
})

/** The group of a parameter by its path. */
export function groupOf(path: string): GroupName {
  if (/\.mlp\.(gate\.|query\.|sub_keys)/.test(path)) return 'router'
  if (/\.mlp\.(experts\.|input_weights|output_weights)/.test(path)) return 'experts'
  if (/norm\.(weight|bias)$/.test(path)) return 'norms'
  if (/embed_tokens/.test(path)) return 'embeddings'
  return 'other'
}

/** The groups that have parameters. */
export function parameterGroups(
  parameters: ReadonlyMap<string, Parameter>,
  settings: z.infer<typeof groupsSchema>,
  weightDecay: number,
): ParameterGroup[] {
  return groupNames
    .map(name => ({
      name,
      parameters: new Map([...parameters].filter(([path]) => groupOf(path) === name)),
      scale: settings[name].scale,
      weightDecay: settings[name].weightDecay ?? weightDecay,
    }))
    .filter(({ parameters: members }) => members.size > 0)
}

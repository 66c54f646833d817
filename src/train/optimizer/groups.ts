// Which parameters are trained how: router, experts, norms, embeddings, and the rest.

import { z } from 'zod'
import { Parameter, type Role } from '../../nn/index.ts'
import type { ParameterGroup } from './optimizer.ts'

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

/** The group of a parameter by what it is for. */
export function groupOf(role: Role): GroupName {
  switch (role) {
    case 'router':
    case 'experts':
      return role
    case 'norm':
      return 'norms'
    case 'embedding':
      return 'embeddings'
    default:
      return 'other'
  }
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
      parameters: new Map(
        [...parameters].filter(([, { declaration }]) => groupOf(declaration.role) === name),
      ),
      scale: settings[name].scale,
      weightDecay: settings[name].weightDecay ?? weightDecay,
    }))
    .filter(({ parameters: members }) => members.size > 0)
}

/** Groups as they are; or parameters as one group named `all`, numbered. */
export function inGroups(
  trained: readonly (Parameter | ParameterGroup)[],
  weightDecay: number,
): ParameterGroup[] {
  const isGrouped = (item: Parameter | ParameterGroup): item is ParameterGroup => !(item instanceof Parameter)
  if (trained.every(isGrouped)) return trained.filter(isGrouped)
  const parameters = new Map(trained.flatMap((item, i) => (isGrouped(item) ? [] : [[`${i}`, item]])))
  return [{ name: 'all', parameters, scale: 1, weightDecay }]
}

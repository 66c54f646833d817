// Domains of a corpus as the tasks that a model's router goes by.

import { ConfigError } from '../errors.ts'
import type { AnyModelConfig } from '../models/index.ts'

/** Names of the tasks that a model's router goes by, in the order of their numbers; null when it goes by none. */
export function taskNames(config: AnyModelConfig): readonly string[] | null {
  if (!('router' in config) || config.router?.kind !== 'task') return null
  return config.router.tasks ?? []
}

/**
 * The task of each domain, by its name; null for a model whose router goes by none.
 *
 * @throws ConfigError for a domain that is no task
 */
export function tasksOfDomains(config: AnyModelConfig, domains: readonly string[]): number[] | null {
  const tasks = taskNames(config)
  if (tasks === null) return null
  return domains.map(domain => {
    const task = tasks.indexOf(domain)
    if (task >= 0) return task
    throw new ConfigError(`the router knows no ${domain}; it has ${tasks.join(', ')}`, {
      path: 'router.tasks',
    })
  })
}

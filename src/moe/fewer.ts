// A model that runs fewer experts than it was trained with: quicker, and another text.

import { ConfigError } from '../errors.ts'
import type { Module } from '../nn/index.ts'
import { keepHeaviest, skipWeak } from './dispatch/skip.ts'
import { layersOfChoice, type Reroute, reroute } from './reroute.ts'
import { checkTopK } from './routers/linear.ts'
import type { TokenRouting } from './routing/token.ts'

export interface FewerExperts {
  /** Experts of each token, those that count most. Default: as many as the router chooses. */
  expertsPerToken?: number | undefined
  /** Experts that count less than this share of the token's first are left out: see skipWeak(). Default: none. */
  skipBelow?: number | undefined
}

/**
 * From now on the layers of a model serve fewer of the experts that their routers choose. What the others would have counted is
 * shared out among those that are served. Texts that are being written go on as they began.
 *
 * @throws ConfigError for more experts than are chosen, and for models whose tokens choose none
 */
export function serveFewer(model: Module, fewer: FewerExperts): void {
  for (const layer of checkedLayers(model, fewer)) reroute(layer, serving(fewer))
}

/** Whether a model could, for tokens that say so themselves: see Tokens.mostExperts. @throws ConfigError as serveFewer() */
export function checkFewer(model: Module, fewer: FewerExperts): void {
  checkedLayers(model, fewer)
}

function checkedLayers(
  model: Module,
  { expertsPerToken, skipBelow }: FewerExperts,
): ReturnType<typeof layersOfChoice> {
  const layers = layersOfChoice(model).filter(({ gate }) => gate.active > 1)
  if (layers.length === 0) {
    throw new ConfigError('is for models whose tokens choose several experts', {
      path: expertsPerToken === undefined ? 'skipBelow' : 'expertsPerToken',
    })
  }
  if (skipBelow !== undefined && !(skipBelow >= 0))
    throw new ConfigError(`must be at least 0, got ${skipBelow}`, { path: 'skipBelow' })
  for (const { gate } of layers)
    if (expertsPerToken !== undefined)
      checkTopK(expertsPerToken, gate.active, 'expertsPerToken', 'the experts that a token chooses')
  return layers
}

function serving({ expertsPerToken, skipBelow }: FewerExperts): Reroute {
  const first = (chosen: TokenRouting): TokenRouting =>
    expertsPerToken === undefined ? chosen : keepHeaviest(chosen, expertsPerToken)
  const strong = (chosen: TokenRouting): TokenRouting =>
    skipBelow === undefined ? chosen : skipWeak(chosen, skipBelow)
  return chosen => strong(first(chosen))
}

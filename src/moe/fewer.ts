// A model that runs fewer experts than it was trained with: quicker, and another text.

import { ConfigError } from '../errors.ts'
import type { Module } from '../nn/index.ts'
import type { Dispatch } from './contracts.ts'
import { keepHeaviest, skipWeak } from './dispatch/skip.ts'
import { MoeLayer } from './layer.ts'
import { ExpertChoiceRouter } from './routers/expert-choice.ts'
import { checkTopK } from './routers/linear.ts'
import { SoftRouter } from './routers/soft.ts'
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
  for (const layer of checkedLayers(model, fewer)) layer.dispatch = serving(layer.dispatch, fewer)
}

/** Whether a model could, for tokens that say so themselves: see Tokens.mostExperts. @throws ConfigError as serveFewer() */
export function checkFewer(model: Module, fewer: FewerExperts): void {
  checkedLayers(model, fewer)
}

function checkedLayers(model: Module, { expertsPerToken, skipBelow }: FewerExperts): MoeLayer[] {
  const layers = [...model.namedModules()].flatMap(([, module]) =>
    module instanceof MoeLayer && choosesSeveral(module.gate) ? [module] : [],
  )
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

const choosesSeveral = (gate: MoeLayer['gate']): boolean =>
  gate.active > 1 && !(gate instanceof ExpertChoiceRouter || gate instanceof SoftRouter)

function serving(dispatch: Dispatch, { expertsPerToken, skipBelow }: FewerExperts): Dispatch {
  const first = (chosen: TokenRouting): TokenRouting =>
    expertsPerToken === undefined ? chosen : keepHeaviest(chosen, expertsPerToken)
  const strong = (chosen: TokenRouting): TokenRouting =>
    skipBelow === undefined ? chosen : skipWeak(chosen, skipBelow)
  return { mix: (x, chosen, all, context) => dispatch.mix(x, strong(first(chosen)), all, context) }
}

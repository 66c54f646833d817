import { expect, test } from 'vitest'
import { tidy } from '../../torch/index.ts'
import {
  activeExperts,
  createRouter,
  hasConstantWeight,
  ownLossCoefficients,
  type RouterConfig,
  type RouterKind,
  requireCausal,
  routerSchema,
  tokensChoose,
} from '../index.ts'

const sizes = { hiddenSize: 8, numExperts: 8, vocabSize: 20 }
const configOf = (settings: unknown): RouterConfig => routerSchema.parse(settings)

/** Every kind, with the most experts that a token may have. */
const all: [settings: { kind: RouterKind } & Record<string, unknown>, active: number][] = [
  [{ kind: 'top-k', k: 3 }, 3],
  [{ kind: 'noisy-top-k' }, 2],
  [{ kind: 'top-2' }, 2],
  [{ kind: 'biased-top-k', k: 4, groups: 4, topGroups: 2 }, 4],
  [{ kind: 'top-p' }, 8],
  [{ kind: 'null-experts', k: 12 }, 8],
  [{ kind: 'cosine' }, 2],
  [{ kind: 'hierarchical', groups: 4, topGroups: 3, k: 2 }, 6],
  [{ kind: 'sinkhorn' }, 1],
  [{ kind: 'base' }, 1],
  [{ kind: 'hash', hashes: 4 }, 4],
  [{ kind: 'words' }, 1],
  [{ kind: 'centroids' }, 1],
  [{ kind: 'reinforce' }, 1],
  [{ kind: 'task', tasks: ['a', 'b'] }, 2],
  [{ kind: 'sequence', k: 3 }, 3],
  [{ kind: 'expert-choice', capacity: 2.5 }, 3],
  [{ kind: 'soft' }, 8],
]

test.each(all)('%o: what is known without memory is what the router says', (settings, active) => {
  tidy(() => {
    const config = configOf(settings)
    using router = createRouter(config, sizes)
    expect(activeExperts(config, sizes)).toBe(active)
    expect(router.active).toBe(active)
    const check = (): void => requireCausal(config, 'router')
    if (router.isCausal) expect(check).not.toThrow()
    else expect(check).toThrow(`router: ${settings.kind} routes a token by what follows it`)
  })
})

test('tokens choose but where experts do, or everything mixes', () => {
  const others = all.filter(([settings]) => !tokensChoose(configOf(settings))).map(([{ kind }]) => kind)
  expect(others).toEqual(['expert-choice', 'soft'])
})

test('routers whose single weight is 1', () => {
  const constant = (settings: unknown): boolean => hasConstantWeight(configOf(settings))
  expect(constant({ kind: 'top-k', k: 1 })).toBe(true)
  expect(constant({ kind: 'top-k', k: 1, normalize: false })).toBe(false)
  expect(constant({ kind: 'biased-top-k', k: 1 })).toBe(false)
  expect(constant({ kind: 'cosine', k: 1 })).toBe(true)
  expect(constant({ kind: 'hierarchical', groups: 4, k: 1 })).toBe(false)
  expect(constant({ kind: 'hierarchical', groups: 4, k: 1, topGroups: 1 })).toBe(true)
  expect(constant({ kind: 'sinkhorn' })).toBe(false)
})

test('own losses have the coefficients of their papers', () => {
  const own = (kind: string): unknown => ownLossCoefficients(configOf({ kind }))
  expect(own('noisy-top-k')).toEqual({ importance: 0.1, load: 0.1 })
  expect(own('reinforce')).toEqual({ policy: 1, value: 1, certainty: 0.01 })
  expect(own('top-k')).toEqual({})
})

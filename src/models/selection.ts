// Parts of a model, as recipes and commands name them: `all`, `attention`, `all,-router`, `experts:3.0`.

import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import type { Declaration, Parameter, Role } from '../nn/index.ts'
import type { TrainableModel } from './stack/trainable.ts'

/** Roles by the words that stand for them. The sets are those that ST-MoE fine-tunes (arXiv:2202.08906 section 4.3). */
const words = {
  all: ['embedding', 'norm', 'attention', 'router', 'experts', 'shared', 'dense', 'head', 'adapter'],
  'non-moe': ['embedding', 'norm', 'attention', 'dense', 'head'],
  moe: ['router', 'experts', 'shared'],
  'feed-forward': ['experts', 'shared', 'dense'],
  attention: ['attention'],
  router: ['router'],
  experts: ['experts'],
  shared: ['shared'],
  dense: ['dense'],
  norms: ['norm'],
  embeddings: ['embedding'],
  head: ['head'],
  adapter: ['adapter'],
} as const satisfies Record<string, readonly Role[]>

type Word = keyof typeof words

/** The words of a selection. */
export const selectionWords = Object.keys(words) as Word[]

/** A list of words, or a text with commas between them. */
export const selectionSchema = z.preprocess(
  value => (typeof value === 'string' ? value.split(',').map(word => word.trim()) : value),
  z.array(z.string()).min(1),
)

/** A tensor as selections see it. */
export interface Selectable {
  declaration: Declaration
  /** The layer that it is in; null outside of layers. */
  layer: number | null
}

/** The parameters of a model, with or without memory, as selections see them; a decoder's layers count on from its encoder's. */
export function selectable(model: TrainableModel): Map<string, Selectable> {
  const layers = new Map<Parameter, number>()
  for (const [layer, module] of model.layers.entries())
    for (const parameter of module.parameters()) layers.set(parameter, layer)
  return new Map(
    [...model.namedParameters()].map(([path, parameter]) => {
      const { declaration } = parameter
      return [path, { declaration, layer: layers.get(parameter) ?? null }]
    }),
  )
}

/** What is chosen of a tensor: all of it, or these of its experts. */
export type Share = 'all' | readonly number[]

interface Term {
  text: string
  roles: readonly Role[]
  /** Whether it takes parts away. */
  isLess: boolean
  layer: number | null
  expert: number | null
}

/**
 * What a selection chooses of tensors by path; paths of which nothing is chosen are left out. Words are read in order, each adds
 * parts, or with a `-` before it takes them away; `experts:L` and `experts:L.E` mean one layer, counted from 0, and one expert.
 *
 * @throws ConfigError for words that there are not, and for layers and experts that the model has not
 */
export function select(
  selection: readonly string[],
  tensors: ReadonlyMap<string, Selectable>,
  path = 'trained',
): Map<string, Share> {
  const chosen = new Map<string, Share>()
  const terms = selection.map(text => parseTerm(text, path))
  if (terms[0]?.isLess) terms.unshift(parseTerm('all', path))
  for (const term of terms) {
    const meant = [...tensors].filter(([, tensor]) => isMeant(term, tensor))
    refuseNothing(term, meant, tensors, path)
    for (const [name, { declaration }] of meant) {
      const share = changed(chosen.get(name) ?? [], term, declaration)
      if (share === 'all' || share.length > 0) chosen.set(name, share)
      else chosen.delete(name)
    }
  }
  if (chosen.size > 0) return chosen
  throw new ConfigError(`${selection.join(',')} leaves nothing of this model: name a part that it has`, {
    path,
  })
}

function parseTerm(text: string, path: string): Term {
  const [, less, word = '', layer, expert] = /^(-?)([a-z-]+)(?::(\d+)(?:\.(\d+))?)?$/.exec(text) ?? []
  const isKnown = Object.hasOwn(words, word) && (layer === undefined || word === 'experts')
  if (!isKnown) {
    throw new ConfigError(
      `'${text}' is no part of a model: name ${selectionWords.join(', ')}, or experts:LAYER.EXPERT; a - before one leaves it out`,
      { path },
    )
  }
  return {
    text,
    roles: words[word as Word],
    isLess: less === '-',
    layer: layer === undefined ? null : Number(layer),
    expert: expert === undefined ? null : Number(expert),
  }
}

function isMeant({ roles, layer, expert }: Term, { declaration, layer: own }: Selectable): boolean {
  if (!roles.includes(declaration.role) || (layer !== null && layer !== own)) return false
  return expert === null || (declaration.stacked === true && expert < numExperts(declaration))
}

/** A layer or an expert that there is not; a word may well mean nothing here, as `router` of a dense model. */
function refuseNothing(
  { text, layer, expert }: Term,
  meant: readonly unknown[],
  tensors: ReadonlyMap<string, Selectable>,
  path: string,
): void {
  if (layer === null || meant.length > 0) return
  const stacks = [...tensors.values()].filter(({ declaration }) => declaration.stacked)
  const here = stacks.find(tensor => tensor.layer === layer)
  const layers = [...new Set(stacks.map(tensor => tensor.layer))].join(', ')
  const what =
    here && expert !== null ? `layer ${layer} has experts 0 to ${numExperts(here.declaration) - 1}` : ''
  const has = what || (layers === '' ? 'this model has no experts' : `layers with experts are ${layers}`)
  throw new ConfigError(`'${text}' is not there: ${has}`, { path })
}

const numExperts = ({ shape }: Declaration): number => shape[0] ?? 0

/** A share with what a term adds or takes away; experts one by one once some of them differ. */
function changed(share: Share, { isLess, expert }: Term, declaration: Declaration): Share {
  if (expert === null) return isLess ? [] : 'all'
  const all = Array.from({ length: numExperts(declaration) }, (_, e) => e)
  const before = share === 'all' ? all : share
  const after = isLess
    ? before.filter(e => e !== expert)
    : [...new Set([...before, expert])].sort((a, b) => a - b)
  return after.length === all.length ? 'all' : after
}

// Recipes that go on with a model that is there: `model: { from: PATH }`.

import type { Tokenizer } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import { isGroup } from '../../group.ts'
import {
  type AnyModelConfig,
  dropoutOf,
  matchTensors,
  openModel,
  routerLossesOf,
  type TrainableModel,
} from '../../models/index.ts'
import type { OpenedModelSettings } from './schema.ts'

/** What MixLoRA's own routers learn by beside the text: `router_aux_loss_coef` of its authors. */
const mixLoraBalance = { kind: 'mixtral-hf', coefficient: 0.001 }

/**
 * What such a recipe leaves out is as the model's config.json has it: the losses that transformers has for its type, and rates of dropout.
 * With adapters, these are trained, and MixLoRA has a balance loss of its own.
 *
 * @throws ConfigError when there is no such model
 */
export function withOwnSettings(raw: unknown): unknown {
  if (!isGroup(raw) || !isGroup(raw.model) || typeof raw.model.from !== 'string') return raw
  const { from } = raw.model
  const model = { type: 'opened', ...raw.model }
  const { adapter } = raw
  const kind = isGroup(adapter) ? adapter.kind : adapter
  const balance = kind === 'mixlora' ? { balance: mixLoraBalance } : {}
  const trained = adapter === undefined ? {} : { trained: ['adapter'] }
  return { ...trained, ...raw, model, ...ownOfConfig(from, raw, balance) }
}

/** Losses and dropout. A recipe that says all of them, as that of a run does, stands when the model is no more there. */
function ownOfConfig(
  from: string,
  { losses = {}, dropout = {} }: { losses?: unknown; dropout?: unknown },
  balance: object,
): { losses?: unknown; dropout?: unknown } {
  const has = (group: unknown, ...names: string[]): boolean =>
    !isGroup(group) || names.every(name => name in group) // what is no group is refused later
  const isComplete = has(losses, 'balance', 'z') && has(dropout, 'hidden', 'attention')
  if (isComplete) return {}
  const { config } = openModel(from)
  return {
    losses: isGroup(losses) ? { ...routerLossesOf(config), ...balance, ...losses } : losses,
    dropout: isGroup(dropout) ? { ...dropoutOf(config), ...dropout } : dropout,
  }
}

/** The config of the model, of any kind. @throws ConfigError for an adapter that is not merged into its base: it goes on as its own run */
export function openedConfig({ from }: OpenedModelSettings): AnyModelConfig {
  const opened = openModel(from)
  opened.requireMergeable()
  return opened.config
}

/** The model, in memory of its own: training writes to it. */
export function loadOpened({ from, weights }: OpenedModelSettings): TrainableModel {
  return openModel(from).load({ weights, mapped: false }).train()
}

/** Bytes of the tensors of its files. */
export function storedBytes({ from }: OpenedModelSettings): number {
  const ranges = matchTensors(openModel(from).source).flatMap(({ stored }) => stored.ranges())
  return ranges.reduce((sum, { length }) => sum + length, 0)
}

/** @throws ConfigError when text was encoded by another tokenizer than the model's: its ids would mean other tokens */
export function requireTokenizerOf({ from }: OpenedModelSettings, tokenizer: Tokenizer): void {
  const own = openModel(from).tokenizer
  const ids = Array.from({ length: Math.max(own.vocabSize, tokenizer.vocabSize) }, (_, id) => id)
  const other = ids.find(id => own.idToToken(id) !== tokenizer.idToToken(id))
  if (other === undefined) return
  throw new ConfigError(
    `was encoded by another tokenizer than that of ${from}: token ${other} is ${shown(tokenizer.idToToken(other))}, ` +
      `there ${shown(own.idToToken(other))}; prepare it with the model's tokenizer`,
    { path: 'data.path' },
  )
}

const shown = (token: string | undefined): string => (token === undefined ? 'none' : JSON.stringify(token))

// The model that a command writes text with: all of it in memory, or within a budget.

import type { Command } from 'commander'
import type { BudgetPlan, ExpertStore, PrefetchConfig } from '../engine/index.ts'
import { ConfigError } from '../errors.ts'
import type { LoadOptions, OpenedModel, TextModel } from '../models/index.ts'
import type { FewerExperts } from '../moe/index.ts'
import { serveFewerOf, withFewerExpertsOptions } from './fewer-experts.ts'
import { keepUses, recallUses } from './kept-uses.ts'
import { type KvFlags, refuseOtherKv, withKvOption } from './kv-option.ts'
import { type PlacementFlags, placementOf, withPlacementOptions } from './placement-options.ts'
import { dim, shortBytes } from './terminal.ts'
import { prefetchOf, sizeOf } from './values.ts'

export interface TextModelFlags extends PlacementFlags, KvFlags, FewerExperts {
  memory?: number | undefined
  prefetch?: PrefetchConfig | undefined
  quiet?: boolean
}

/** Where a model computes, and within what. */
export interface TextPlacement {
  placement: Required<LoadOptions>
  memory: number | undefined
  kv: KvFlags['kv']
  /** How experts are read ahead. */
  prefetch: PrefetchConfig | undefined
  fewer: FewerExperts
}

/** @throws ConfigError for what cannot be, before anything is opened */
export function textPlacementOf({
  memory,
  prefetch,
  kv,
  expertsPerToken,
  skipBelow,
  ...flags
}: TextModelFlags): TextPlacement {
  const placement = placementOf(flags)
  if (memory !== undefined && placement.weights !== 'stored')
    throw new ConfigError('is for weights as files have them: leave --device, --dtype and --weights out', {
      path: '--memory',
    })
  refuseOtherKv({ kv }, placement)
  if (prefetch !== undefined && memory === undefined)
    throw new ConfigError('is for experts that come from the file: give --memory too', { path: '--prefetch' })
  return { placement, memory, prefetch, kv, fewer: { expertsPerToken, skipBelow } }
}

/** Adds all options of where and how a model writes. */
export function withTextModelOptions(command: Command): Command {
  return withFewerExpertsOptions(withKvOption(withMemoryOptions(withPlacementOptions(command))))
}

/** Adds --memory and --prefetch. */
function withMemoryOptions(command: Command): Command {
  return command
    .option(
      '--memory <size>',
      'stay within so much memory, as 2GiB: experts come from the file when they are chosen, and the text is the same',
      sizeOf('--memory'),
    )
    .option(
      '--prefetch <how>',
      'with --memory, guess which experts are next and read them before: router, history, hints:FILE or off (default: off)',
      prefetchOf('--prefetch'),
    )
}

/** A model, and the store of its experts where there is a budget. */
export interface LoadedTextModel {
  model: TextModel
  store: ExpertStore | null
  /** Keeps for the next run which experts this one has used. */
  remember(): Promise<void>
  /** Frees both. */
  dispose(): void
}

/**
 * @param context tokens of all texts together, at most: asked for where there is a budget
 * @throws ConfigError for a budget below what works
 */
export async function loadTextModel(
  opened: OpenedModel,
  placement: TextPlacement,
  options: { context: () => Promise<number>; quiet: boolean },
): Promise<LoadedTextModel> {
  const loaded = await loadWithin(opened, placement, options)
  await serveFewerOf(loaded.model, placement.fewer, options)
  return loaded
}

async function loadWithin(
  opened: OpenedModel,
  { placement, memory, prefetch, kv }: TextPlacement,
  { context, quiet }: { context: () => Promise<number>; quiet: boolean },
): Promise<LoadedTextModel> {
  if (memory === undefined) {
    const model = opened.load({ kind: 'text', ...placement })
    return { model, store: null, remember: async () => undefined, dispose: () => model.dispose() }
  }
  const { loadTiered } = await import('../engine/index.ts')
  const budget = { memory, context: await context(), kv }
  const { source } = opened
  const { tiered, plan } = loadTiered(source, { ...budget, ...(prefetch && { prefetch }) })
  const { model, store } = tiered
  await recallUses(source, store, quiet)
  if (!quiet) process.stderr.write(`${dim(planText(memory, plan, store))}\n`)
  const remember = (): Promise<void> => keepUses(source, store)
  return { model, store, remember, dispose: () => tiered[Symbol.dispose]() }
}

/** `memory: 2.0 GB, of which 370 MB without experts, 11 MB cache, 118 MB working; experts: 42 of 96 fit (43%)` */
function planText(
  memory: number,
  { fixed, cache, working, experts, allExperts }: BudgetPlan,
  store: ExpertStore,
): string {
  const share = Math.floor((100 * experts) / allExperts)
  return (
    `memory: ${shortBytes(memory)}, of which ${shortBytes(fixed)} without experts, ${shortBytes(cache)} cache, ` +
    `${shortBytes(working)} working; experts: ${store.capacity} of ${store.total} fit (${share}%)`
  )
}

/** What `--json` gives of the experts' use. */
export interface ExpertUse {
  resident: number
  total: number
  hitRate: number
  bytesRead: number
  /** What was read ahead, and whether it was found to pay, null: not yet; null where nothing is guessed. */
  ahead: { usefulBytes: number; wastedBytes: number; pays: boolean | null } | null
}

export function expertUse({ capacity, total, counts, ahead }: ExpertStore): ExpertUse {
  const { uses, hits, bytes, useful, wasted } = counts
  const hitRate = uses === 0 ? 0 : hits / uses
  return {
    ...{ resident: capacity, total, hitRate, bytesRead: bytes },
    ahead: ahead && { usefulBytes: useful, wastedBytes: wasted, pays: ahead.trial.verdict?.isOn ?? null },
  }
}

/** `experts: 85.8% of uses from memory, 963 MB read (ahead: 120 MB used, 31 MB in vain)` */
export function expertUseText(store: ExpertStore): string {
  const { hitRate, bytesRead, ahead } = expertUse(store)
  const guessed =
    ahead && ` (ahead: ${shortBytes(ahead.usefulBytes)} used, ${shortBytes(ahead.wastedBytes)} in vain)`
  return `experts: ${(100 * hitRate).toFixed(1)}% of uses from memory, ${shortBytes(bytesRead)} read${guessed ?? ''}`
}

/** Says that reading ahead does not pay here; null where it does, or nobody knows yet. */
export function aheadNote({ ahead }: ExpertStore): string | null {
  const verdict = ahead?.trial.verdict
  if (!verdict || verdict.isOn) return null
  const [slow, quick] = [verdict.with, verdict.without].map(seconds => (1000 * seconds).toFixed(1))
  return `experts are read ahead no more, for now: a token took ${slow} ms with it and ${quick} ms without`
}

// The model that a command writes text with: all of it in memory, or within a budget.

import type { Command } from 'commander'
import type { BudgetPlan, ExpertStore } from '../engine/index.ts'
import { ConfigError } from '../errors.ts'
import type { LoadOptions, OpenedModel, TextModel } from '../models/index.ts'
import { type KvFlags, refuseOtherKv } from './kv-option.ts'
import { type PlacementFlags, placementOf } from './placement-options.ts'
import { dim, shortBytes } from './terminal.ts'
import { sizeOf } from './values.ts'

export interface TextModelFlags extends PlacementFlags, KvFlags {
  memory?: number | undefined
  quiet?: boolean
}

/** Where a model computes, and within what. */
export interface TextPlacement {
  placement: Required<LoadOptions>
  memory: number | undefined
  kv: KvFlags['kv']
}

/** @throws ConfigError for what cannot be, before anything is opened */
export function textPlacementOf({ memory, kv, ...flags }: TextModelFlags): TextPlacement {
  const placement = placementOf(flags)
  if (memory !== undefined && placement.weights !== 'stored')
    throw new ConfigError('is for weights as files have them: leave --device, --dtype and --weights out', {
      path: '--memory',
    })
  refuseOtherKv({ kv }, placement)
  return { placement, memory, kv }
}

/** Adds --memory. */
export function withMemoryOption(command: Command): Command {
  return command.option(
    '--memory <size>',
    'stay within so much memory, as 2GiB: experts come from the file when they are chosen, and the text is the same',
    sizeOf('--memory'),
  )
}

/** A model, and the store of its experts where there is a budget. */
export interface LoadedTextModel {
  model: TextModel
  store: ExpertStore | null
  /** Frees both. */
  dispose(): void
}

/**
 * @param context tokens of all texts together, at most: asked for where there is a budget
 * @throws ConfigError for a budget below what works
 */
export async function loadTextModel(
  opened: OpenedModel,
  { placement, memory, kv }: TextPlacement,
  { context, quiet }: { context: () => Promise<number>; quiet: boolean },
): Promise<LoadedTextModel> {
  if (memory === undefined) {
    const model = opened.load({ kind: 'text', ...placement })
    return { model, store: null, dispose: () => model.dispose() }
  }
  const { loadTiered } = await import('../engine/index.ts')
  const { tiered, plan } = loadTiered(opened.source, { memory, context: await context(), kv })
  const { model, store } = tiered
  if (!quiet) process.stderr.write(`${dim(planText(memory, plan, store))}\n`)
  return { model, store, dispose: () => tiered[Symbol.dispose]() }
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
}

export function expertUse({ capacity, total, counts: { uses, hits, bytes } }: ExpertStore): ExpertUse {
  return { resident: capacity, total, hitRate: uses === 0 ? 0 : hits / uses, bytesRead: bytes }
}

/** `experts: 85.8% of uses from memory, 963 MB read` */
export function expertUseText(store: ExpertStore): string {
  const { hitRate, bytesRead } = expertUse(store)
  return `experts: ${(100 * hitRate).toFixed(1)}% of uses from memory, ${shortBytes(bytesRead)} read`
}

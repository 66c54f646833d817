// The model that a command writes text with: all of it in memory, or within a budget.

import type { Command } from 'commander'
import type {
  BudgetPlan,
  ExpertStore,
  MemoryPlan,
  OnMiss,
  PrefetchConfig,
  ServedHints,
} from '../engine/index.ts'
import { ConfigError } from '../errors.ts'
import type { LoadOptions, OpenedModel, TextModel } from '../models/index.ts'
import { type ServingFlags, serveOtherwise, withFewerExpertsOptions } from './fewer-experts.ts'
import { keepUses, recallUses } from './kept-uses.ts'
import { type KvFlags, refuseOtherKv, withKvOption } from './kv-option.ts'
import { type PlacementFlags, placementOf, withPlacementOptions } from './placement-options.ts'
import { dim, shortBytes, yellow } from './terminal.ts'
import { onMissOf, prefetchOf, sizeOf } from './values.ts'

/** Within what, and what becomes of experts that do not fit. */
export interface BudgetFlags {
  memory?: number | undefined
  onMiss?: OnMiss | undefined
}

export interface TextModelFlags extends PlacementFlags, KvFlags, ServingFlags, BudgetFlags {
  deviceMemory?: number | undefined
  prefetch?: PrefetchConfig | undefined
  quiet?: boolean
}

/** Where a model computes, and within what. */
export interface TextPlacement {
  placement: Required<LoadOptions>
  memory: number | undefined
  /** Within what it computes on a device. */
  deviceMemory: number | undefined
  kv: KvFlags['kv']
  /** How experts are read ahead. */
  prefetch: PrefetchConfig | undefined
  onMiss: OnMiss | undefined
  serving: ServingFlags
}

/** @throws ConfigError for what cannot be, before anything is opened */
export function textPlacementOf(flags: TextModelFlags): TextPlacement {
  const { memory, deviceMemory, prefetch, onMiss, kv, expertsPerToken, skipBelow, hints, ...where } = flags
  const placement = placementOf(where)
  if (placement.device === 'cpu') refuseBudget({ memory, onMiss }, placement)
  refuseDeviceBudget(flags)
  refuseOtherKv({ kv }, placement)
  if (prefetch !== undefined && memory === undefined)
    throw new ConfigError('is for experts that come from the file: give --memory too', { path: '--prefetch' })
  if (prefetch !== undefined && prefetch.kind !== 'off' && onMiss !== undefined && onMiss.kind !== 'read')
    throw new ConfigError('hides the wait for experts, and with --on-miss nobody waits: leave one out', {
      path: '--prefetch',
    })
  const serving = { expertsPerToken, skipBelow, hints }
  return { placement, memory, deviceMemory, prefetch, onMiss, kv, serving }
}

/**
 * Where and how a model writes, and the flags of a command that are about something else.
 *
 * @throws ConfigError see textPlacementOf()
 */
export function divideTextFlags<Flags extends TextModelFlags>(flags: Flags) {
  const { device, dtype, weights, memory, deviceMemory, ...others } = flags
  const { prefetch, onMiss, expertsPerToken, skipBelow, hints, quiet = false, ...options } = others
  return { placement: textPlacementOf(flags), quiet, options }
}

/** @throws ConfigError for what does not go together where a model computes on a device */
function refuseDeviceBudget({ device, memory, deviceMemory, onMiss, prefetch }: TextModelFlags): void {
  const refuse = (path: string, problem: string): never => {
    throw new ConfigError(problem, { path })
  }
  if (deviceMemory !== undefined && device === 'cpu')
    refuse('--device-memory', 'is for a model that computes elsewhere: give --device cuda too')
  if (deviceMemory !== undefined && memory === undefined)
    refuse('--device-memory', 'is for experts that come from host memory: give --memory too')
  if (device === 'cpu') return
  const hint = 'is for models that compute on the CPU: leave it or --device out'
  if (onMiss !== undefined && onMiss.kind !== 'read') refuse('--on-miss', hint)
  if (prefetch !== undefined && prefetch.kind !== 'off') refuse('--prefetch', hint)
}

/** @throws ConfigError for a budget of a model that is not computed as its files have it */
export function refuseBudget({ memory, onMiss }: BudgetFlags, { weights }: Required<LoadOptions>): void {
  if (memory !== undefined && weights !== 'stored')
    throw new ConfigError('is for weights as files have them: leave --device, --dtype and --weights out', {
      path: '--memory',
    })
  if (onMiss !== undefined && memory === undefined)
    throw new ConfigError('is for experts that come from the file: give --memory too', { path: '--on-miss' })
}

/** Adds all options of where and how a model writes. */
export function withTextModelOptions(command: Command): Command {
  return withFewerExpertsOptions(
    withKvOption(
      withPrefetchOption(withDeviceMemoryOption(withBudgetOptions(withPlacementOptions(command)))),
    ),
  )
}

/** Adds --device-memory. */
export function withDeviceMemoryOption(command: Command): Command {
  return command.option(
    '--device-memory <size>',
    'with --memory and --device cuda, stay within so much of its memory, where the experts are that are used most (default: what is free, but for a tenth)',
    sizeOf('--device-memory'),
  )
}

/** Adds --memory and --on-miss. */
export function withBudgetOptions(command: Command): Command {
  return command
    .option(
      '--memory <size>',
      'stay within so much memory, as 2GiB: experts come from the file when they are chosen, and the text is the same',
      sizeOf('--memory'),
    )
    .option(
      '--on-miss <how>',
      'with --memory, what becomes of an expert that is not there: read (it is waited for), resident (tokens choose among those that are there: another text), or a type as q4_0 (a copy of so few bits stands in: nearly the same text) (default: read)',
      onMissOf('--on-miss'),
    )
}

function withPrefetchOption(command: Command): Command {
  return command.option(
    '--prefetch <how>',
    'with --memory, guess which experts are next and read them before: router, history, hints:FILE or off (default: off)',
    prefetchOf('--prefetch'),
  )
}

/** A model, and the store of its experts where there is a budget. */
export interface LoadedTextModel {
  model: TextModel
  store: ExpertStore | null
  /** What --hints made of the routers' choices; null without. */
  hints: ServedHints | null
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
  const hints = await serveOtherwise(loaded.model, placement.serving, options)
  return { ...loaded, hints }
}

async function loadWithin(
  opened: OpenedModel,
  { placement, memory, deviceMemory, prefetch, onMiss, kv }: TextPlacement,
  { context, quiet }: { context: () => Promise<number>; quiet: boolean },
): Promise<Omit<LoadedTextModel, 'hints'>> {
  if (memory === undefined) {
    const model = opened.load({ kind: 'text', ...placement })
    return { model, store: null, remember: async () => undefined, dispose: () => model.dispose() }
  }
  const { loadTiered } = await import('../engine/index.ts')
  const budget = { memory, context: await context(), kv }
  const { source } = opened
  const settings = { ...(prefetch && { prefetch }), ...(onMiss && { onMiss }) }
  const { device, dtype } = placement
  const where = device === 'cpu' ? undefined : { device, dtype, memory: deviceMemory }
  const { tiered, plan } = loadTiered(source, { ...budget, ...settings, device: where })
  const { model, store } = tiered
  await recallUses(source, store, quiet)
  if (!quiet) process.stderr.write(`${dim(planText(memory, plan, store))}\n${missNote(onMiss)}`)
  const remember = (): Promise<void> => keepUses(source, store)
  return { model, store, remember, dispose: () => tiered[Symbol.dispose]() }
}

/** `memory: 2.0 GB, of which 370 MB without experts, 11 MB cache, 118 MB working; experts: 42 of 96 fit (43%)` */
function planText(
  memory: number,
  { copies, device, ...plan }: BudgetPlan,
  { capacity, total, device: tier }: ExpertStore,
): string {
  const host = `memory: ${shortBytes(memory)}, of which ${partsText(plan, copies)}; ${fitText(plan, capacity, total)}`
  return device && tier
    ? `${host}\ndevice memory: ${partsText(device, 0)}; ${fitText(device, tier.capacity, total)}`
    : host
}

const partsText = ({ fixed, cache, working }: MemoryPlan, copies: number): string =>
  [
    `${shortBytes(fixed)} without experts`,
    `${shortBytes(cache)} cache`,
    `${shortBytes(working)} working`,
    ...(copies > 0 ? [`${shortBytes(copies)} copies`] : []),
  ].join(', ')

const fitText = ({ experts, allExperts }: MemoryPlan, capacity: number, total: number): string =>
  `experts: ${capacity} of ${total} fit (${Math.floor((100 * experts) / allExperts)}%)`

/** What --on-miss means for the text; empty where it stays the same. */
function missNote(onMiss: OnMiss | undefined): string {
  if (onMiss === undefined || onMiss.kind === 'read') return ''
  const what =
    onMiss.kind === 'resident'
      ? 'tokens choose among the experts that are in memory'
      : `copies in ${onMiss.type.toLowerCase()} stand in for experts that are not in memory`
  return `${yellow('note:')} ${what}: another text, and perhaps not twice the same; 'switchyard eval' with the same options says what it costs\n`
}

/** What `--json` gives of the experts' use. */
export interface ExpertUse {
  resident: number
  total: number
  hitRate: number
  bytesRead: number
  /** Of those on the device that computes, which asks memory for what it misses; null where there is none. */
  device: { resident: number; hitRate: number; bytesSent: number } | null
  /** What was read ahead, and whether it was found to pay, null: not yet; null where nothing is guessed. */
  ahead: { usefulBytes: number; wastedBytes: number; pays: boolean | null } | null
  /** Share of uses that copies stood in for. */
  copied: number
  /** Share of the choices of tokens which were to choose among experts in memory that went to others. */
  replaced: number
}

export function expertUse({ capacity, total, counts, ahead, device }: ExpertStore): ExpertUse {
  const { uses, hits, bytes, useful, wasted } = counts
  const share = (part: number, all: number): number => (all === 0 ? 0 : part / all)
  return {
    ...{ resident: capacity, total, hitRate: share(hits, uses), bytesRead: bytes },
    device: device && {
      ...{ resident: device.capacity, hitRate: share(device.counts.hits, device.counts.uses) },
      bytesSent: device.counts.bytes,
    },
    ...{ copied: share(counts.copied, uses), replaced: share(counts.replaced, counts.choices) },
    ahead: ahead && { usefulBytes: useful, wastedBytes: wasted, pays: ahead.trial.verdict?.isOn ?? null },
  }
}

/** `experts: 85.8% of uses from memory, 963 MB read (ahead: 120 MB used, 31 MB in vain)` */
export function expertUseText(store: ExpertStore): string {
  const { hitRate, bytesRead, ahead, copied, replaced, device } = expertUse(store)
  const percent = (share: number): string => `${(100 * share).toFixed(1)}%`
  return [
    device === null
      ? `experts: ${percent(hitRate)} of uses from memory`
      : `experts: ${percent(device.hitRate)} of uses on the device, ${percent(hitRate)} of others from memory`,
    ...(device ? [`${shortBytes(device.bytesSent)} sent`] : []),
    ...(copied > 0 ? [`${percent(copied)} by copies`] : []),
    ...(replaced > 0 ? [`${percent(replaced)} of choices replaced by experts in memory`] : []),
    `${shortBytes(bytesRead)} read${
      ahead ? ` (ahead: ${shortBytes(ahead.usefulBytes)} used, ${shortBytes(ahead.wastedBytes)} in vain)` : ''
    }`,
  ].join(', ')
}

/** Says that reading ahead does not pay here; null where it does, or nobody knows yet. */
export function aheadNote({ ahead }: ExpertStore): string | null {
  const verdict = ahead?.trial.verdict
  if (!verdict || verdict.isOn) return null
  const [slow, quick] = [verdict.with, verdict.without].map(seconds => (1000 * seconds).toFixed(1))
  return `experts are read ahead no more, for now: a token took ${slow} ms with it and ${quick} ms without`
}

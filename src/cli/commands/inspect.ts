// `switchyard inspect`: what a model is, from its config alone.

import { Command } from 'commander'
import type { MemoryPlan, OnMiss, TieredOutlook } from '../../engine/index.ts'
import { ConfigError } from '../../errors.ts'
import type {
  AnyModelConfig,
  EncoderDecoderModelConfig,
  ModelConfig,
  OpenedModel,
  Preset,
  PresetCounts,
} from '../../models/index.ts'
import { type KvFlags, withKvOption } from '../kv-option.ts'
import { formatPlans, type MeshFlags, meshPlans, refuseWithoutPlan, withMeshOptions } from '../mesh-report.ts'
import { openNamed } from '../open-model.ts'
import { bold, count, shortBytes, shortCount, table } from '../terminal.ts'
import { onMissOf, sizeOf, wholeNumberOf } from '../values.ts'

interface Flags extends KvFlags, MeshFlags {
  context?: number
  dtype?: string
  memory?: number
  deviceMemory?: number
  onMiss?: OnMiss
  json?: boolean
  quiet?: boolean
}

const help = `
MODEL is a model folder, a run folder, a .gguf file or a config.json, whose
weights are not needed.
preset:NAME shows the parameters of a published model, whether or not it can be
opened here; a wrong name lists them all.

Examples:
  switchyard inspect runs/tiny-moe
  switchyard inspect Mixtral-8x7B/config.json --context 8192 --dtype bf16
  switchyard inspect model.gguf --memory 2GiB
  switchyard inspect preset:deepseek-v3
  switchyard inspect preset:mixtral-8x7b --plan --mesh expert=8,data=2
  switchyard inspect preset:mixtral-8x7b --plan --cluster h100:8x8`

export function inspectCommand(): Command {
  const command = new Command('inspect')
    .description('parameters, FLOPs and memory of a model, from its config alone')
    .argument('<model>', 'model folder, run folder, config.json or preset:NAME')
    .option(
      '--context <tokens>',
      'sequence length for FLOPs and cache (default: the longest the model has, at most 4096)',
      wholeNumberOf('--context', 1),
    )
    .option(
      '--dtype <name>',
      'f32, bf16, f16 or f64, for memory (default: f32, with --device-memory or --plan bf16)',
    )
    .option(
      '--memory <size>',
      'how it would run within so much memory, as 2GiB: see generate --memory',
      sizeOf('--memory'),
    )
    .option(
      '--device-memory <size>',
      'with --memory, how it would run on a GPU within so much of its memory: see generate --device-memory',
      sizeOf('--device-memory'),
    )
    .option(
      '--on-miss <type>',
      'with --memory, count copies of so few bits, as q4_0: see generate --on-miss',
      onMissOf('--on-miss'),
    )
  return withMeshOptions(withKvOption(command))
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but the result')
    .addHelpText('after', help)
    .action(inspect)
}

async function inspect(path: string, flags: Flags): Promise<void> {
  refuseWithoutPlan(flags)
  if (flags.plan) return inspectPlan(path, flags)
  if (path.startsWith(presetPrefix)) {
    if (flags.memory !== undefined)
      throw new ConfigError('needs the files of a model, which a preset has not', { path: '--memory' })
    return inspectPreset(path.slice(presetPrefix.length), flags)
  }
  refuseLone(flags)
  const { bytesPerElement } = await import('../../models/index.ts')
  const { dtype = flags.deviceMemory === undefined ? 'f32' : 'bf16' } = flags
  if (!Object.hasOwn(bytesPerElement, dtype)) {
    throw new ConfigError(`'${dtype}' is not one of ${Object.keys(bytesPerElement).join(', ')}`, {
      path: '--dtype',
    })
  }
  const opened = await openNamed(path, flags)
  const { config } = opened
  const report = await describe(config, flags, dtype as keyof typeof bytesPerElement)
  const outlook = flags.memory === undefined ? null : await lookAhead(opened, flags, report)
  const json = { config, ...report, ...(outlook && { budget: outlook }) }
  const text = outlook ? `${format(report)}\n\n${formatOutlook(flags.memory ?? 0, outlook)}` : format(report)
  process.stdout.write(`${flags.json ? JSON.stringify(json, null, 2) : text}\n`)
}

async function inspectPlan(path: string, flags: Flags): Promise<void> {
  const { presetConfig, requireOneStack } = await import('../../models/index.ts')
  const { describeMesh } = await import('../../parallel/mesh.ts')
  const { dtype = 'bf16' } = flags
  if (dtype !== 'f32' && dtype !== 'bf16')
    throw new ConfigError(`'${dtype}' is not one of f32, bf16, in which a plan is`, { path: '--dtype' })
  const isPreset = path.startsWith(presetPrefix)
  const any = isPreset ? presetConfig(path.slice(presetPrefix.length)) : (await openNamed(path, flags)).config
  const config = requireOneStack(any, path)
  const sequenceLength = flags.context ?? Math.min(4096, config.max_position_embeddings)
  const planned = await meshPlans(config, flags, { dtype, sequenceLength })
  const text = flags.json ? JSON.stringify(planned, null, 2) : formatPlans(planned, describeMesh)
  process.stdout.write(`${text}\n`)
}

/** @throws ConfigError for what only a budget gives a meaning */
function refuseLone({ memory, deviceMemory, onMiss }: Flags): void {
  const given = { '--device-memory': deviceMemory, '--on-miss': onMiss }
  const [lone] = Object.entries(given).flatMap(([path, value]) => (value === undefined ? [] : path))
  if (memory === undefined && lone !== undefined)
    throw new ConfigError('is for experts that come from the file: give --memory too', { path: lone })
  if (deviceMemory !== undefined && onMiss !== undefined && onMiss.kind !== 'read')
    throw new ConfigError('is for models that compute on the CPU: leave it or --device-memory out', {
      path: '--on-miss',
    })
}

async function lookAhead(
  opened: OpenedModel,
  { memory = 0, deviceMemory, onMiss, kv }: Flags,
  { context, dtype }: Report,
): Promise<TieredOutlook> {
  const { planTiered } = await import('../../engine/index.ts')
  const copies = onMiss?.kind === 'copy' ? onMiss.type : undefined
  const device = deviceMemory === undefined ? undefined : { dtype, memory: deviceMemory }
  return planTiered(opened.source, { memory, context: context ?? 0, kv, copies, device })
}

/** What is read where no expert is likelier than another: routing that is skewed, or repeats itself, does better. */
function formatOutlook(memory: number, outlook: TieredOutlook): string {
  const { plan, total, resident, onDevice, usedPerToken } = outlook
  const share = resident / total
  const rows = [
    ...memoryRows(plan, resident, total),
    ...(plan.device && onDevice !== null
      ? [['on the device', '', ''], ...memoryRows(plan.device, onDevice, total)]
      : []),
    ['experts that a token uses', shortBytes(usedPerToken), ''],
    [
      'of them read, at most on average',
      shortBytes((1 - share) * usedPerToken),
      'when no expert is likelier than another',
    ],
  ]
  return table([[`within ${shortBytes(memory)}`, '', ''], ...rows])
}

function memoryRows(plan: MemoryPlan & { copies?: number }, resident: number, total: number): string[][] {
  const { fixed, cache, working, copies = 0, experts, allExperts } = plan
  return [
    ['process and all but experts', shortBytes(fixed), ''],
    ['keys and values', shortBytes(cache), ''],
    ['what is computed', shortBytes(working), ''],
    ...(copies > 0 ? [['copies of all experts', shortBytes(copies), '']] : []),
    [
      'experts in memory',
      shortBytes(experts),
      `${count(resident)} of ${count(total)}, ${percent(resident / total)} of ${shortBytes(allExperts)}`,
    ],
  ]
}

const presetPrefix = 'preset:'

async function inspectPreset(name: string, { json = false }: Flags): Promise<void> {
  const { presetCounts, presetOf } = await import('../../models/index.ts')
  const preset = presetOf(name)
  const counts = presetCounts(preset)
  process.stdout.write(
    `${json ? JSON.stringify({ preset, ...counts }, null, 2) : formatPreset(preset, counts)}\n`,
  )
}

function formatPreset(preset: Preset, { total, active, parts }: PresetCounts): string {
  const { title, source, hidden, expert, dense, experts, chosen, shared } = preset
  const beside = shared > 0 ? ` and ${shared} shared` : ''
  const layers = `${expert.layers} layers of ${experts} experts${beside}, ${chosen} chosen, ${dense.layers} dense`
  const rows = [
    ['total', total],
    ['active per token', active],
    ...Object.entries(parts).filter(([, parameters]) => parameters > 0),
  ] as [string, number][]
  const cells = rows.map(([name, parameters]) => [name, count(parameters), percent(parameters / total)])
  return `${bold(`${title}: ${layers}, width ${hidden} (${source})`)}\n\n${table([['parameters', '', 'of total'], ...cells])}`
}

async function describe(
  config: AnyModelConfig,
  { context: wanted, kv }: Flags,
  dtype: 'f32' | 'bf16' | 'f16' | 'f64',
) {
  const { countParameters, describeFeedForward, flopsPerToken, isEncoderDecoder, layerTable, memoryNeeds } =
    await import('../../models/index.ts')
  const shared = {
    feedForward: describeFeedForward(config),
    parameters: countParameters(config),
    dtype,
    kv: kv ?? dtype,
    memory: memoryNeeds(config, dtype, kv),
    layers: layerTable(config),
  }
  // What a token of an encoder-decoder costs depends on the lengths of both texts.
  if (isEncoderDecoder(config))
    return { ...shared, title: encoderDecoderTitle(config), context: null, flops: null }
  const context = wanted ?? Math.min(4096, config.max_position_embeddings)
  return { ...shared, title: title(config), context, flops: flopsPerToken(config, context) }
}

type Report = Awaited<ReturnType<typeof describe>>

function format({ parameters, context, flops, dtype, kv, memory, layers, ...report }: Report): string {
  const facts: [string, string][] = [
    ['parameters', `${count(parameters.total)} total`],
    ['', `${count(parameters.active)} active per token, ${percent(parameters.active / parameters.total)}`],
    ['', `${count(parameters.activeWithoutEmbedding)} active without the input embedding`],
  ]
  if (flops !== null) {
    const text = `${flopText(flops.forward)} forward, ${flopText(flops.training)} training`
    facts.push(['FLOPs per token', `${text}, at ${count(context)} tokens`])
  }
  facts.push(
    [`memory in ${dtype}`, `${shortBytes(memory.weights)} weights`],
    ['', `${shortBytes(memory.optimizer)} gradients and AdamW, when training`],
  )
  if (memory.cachePerToken > 0 && context !== null) {
    const all = shortBytes(memory.cachePerToken * context)
    const each = shortBytes(memory.cachePerToken)
    const type = kv === dtype ? '' : ` in ${kv}`
    facts.push(['', `${all} keys and values of ${count(context)} tokens${type} (${each} each)`])
  }
  const width = Math.max(...facts.map(([name]) => name.length))
  const lines = facts.map(([name, value]) => `${name.padEnd(width)}  ${value}`)
  const heading = `${report.title}, ${report.feedForward}`
  return `${bold(heading)}\n\n${lines.join('\n')}\n\n${layerRows(layers)}`
}

function title(config: ModelConfig): string {
  const { num_hidden_layers: layers, hidden_size: hidden, vocab_size: vocab } = config
  const heads = `${config.num_attention_heads} heads on ${config.num_key_value_heads}`
  return `${config.model_type}: ${layers} layers of ${hidden}, ${heads}, feed-forward ${config.intermediate_size}, vocabulary ${count(vocab)}`
}

const encoderDecoderTitle = ({ model_type, d_model, vocab_size }: EncoderDecoderModelConfig): string =>
  `${model_type}: encoder and decoder of ${d_model}, vocabulary ${count(vocab_size)}`

function layerRows(layers: Report['layers']): string {
  const columns = [
    ...new Set(layers.flatMap(layer => (/\blayers? /.test(layer.name) ? Object.keys(layer.parts) : []))),
  ]
  const rows = layers.map(layer => [
    layer.name,
    ...columns.map(column => (layer.parts[column] === undefined ? '' : shortCount(layer.parts[column]))),
    shortCount(layer.total),
    shortCount(layer.active),
    shortCount(layer.total * layer.count),
  ])
  return table([['part', ...columns, 'total', 'active', 'all together'], ...rows])
}

const percent = (share: number): string => `${(share * 100).toFixed(1)}%`
const flopText = (flops: number): string =>
  `${shortCount(flops)}FLOP`
    .replace(/(\d)FLOP/, '$1 FLOP')
    .replace(/([kMBT])FLOP/, ' $1FLOP')
    .replace(' BFLOP', ' GFLOP')

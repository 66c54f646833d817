// `switchyard serve`: models for clients of the APIs of OpenAI and Anthropic.

import { Command } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { OpenedModel } from '../../models/index.ts'
import type { ServedModel, ServerSettings } from '../../server/index.ts'
import { apiKeysOf } from '../api-keys.ts'
import { Interruption } from '../interruption.ts'
import { type TextModelFlags, textPlacementOf, withTextModelOptions } from '../load-text-model.ts'
import { openNamed } from '../open-model.ts'
import { logText } from '../request-log.ts'
import { bold, dim } from '../terminal.ts'
import { timed } from '../timings.ts'
import { sizeOf, wholeNumberOf } from '../values.ts'

interface Flags extends TextModelFlags {
  host: string
  port: number
  name?: string
  loaded?: number
  idle?: number
  texts?: number
  context?: number
  cacheTokens?: number
  waiting?: number
  apiKeyFile?: string
  rate?: number
  expertSeries?: number
  allowOrigin?: string[]
  maxBody: number
  drain: number
  json?: boolean
}

const help = `
API keys are the lines of --api-key-file, and SWITCHYARD_API_KEYS with commas.
They are never options, which others on the machine could see.
Without any, only this machine may ask. SIGTERM and Ctrl-C let requests end.

Examples:
  switchyard serve runs/tiny
  switchyard serve runs/tiny model.gguf --loaded 1 --idle 600
  switchyard serve model.gguf --memory 8GiB --texts 8 --context 8192
  SWITCHYARD_API_KEYS=sk-example switchyard serve model --host 0.0.0.0 --port 80`

export function serveCommand(): Command {
  const command = new Command('serve')
    .description("answer clients of OpenAI's and Anthropic's APIs over HTTP")
    .argument('<model...>', 'model folders, run folders, .gguf files or downloaded org/name')
    .option('--host <address>', 'where to listen', '127.0.0.1')
    .option('--port <n>', '0: any that is free', wholeNumberOf('--port'), 8000)
    .option(
      '--loaded <n>',
      'models in memory at a time (default: all; with --memory 1)',
      wholeNumberOf('--loaded', 1),
    )
    .option(
      '--idle <seconds>',
      'how long a model stays that nobody asks (default: for ever)',
      wholeNumberOf('--idle', 1),
    )
    .option('--name <id>', 'what clients call the model (default: its file or folder)')
    .option('--texts <n>', 'texts that are written at once (default: 4)', wholeNumberOf('--texts', 1))
    .option(
      '--context <n>',
      'most tokens of a text, prompt included (default: 4096, if the model has as many positions)',
      wholeNumberOf('--context', 1),
    )
    .option(
      '--cache-tokens <n>',
      'tokens that all texts have room for (default: --texts times --context)',
      wholeNumberOf('--cache-tokens', 1),
    )
    .option(
      '--waiting <n>',
      'texts that may wait, before clients are told to come again (default: 64)',
      wholeNumberOf('--waiting', 1),
    )
    .option('--api-key-file <path>', 'who may ask: an API key per line')
    .option('--rate <n>', 'requests a minute of each API key (default: any)', wholeNumberOf('--rate', 1))
    .option(
      '--expert-series <n>',
      'metrics of single experts, of each model the busiest (default: none)',
      wholeNumberOf('--expert-series', 1),
    )
    .option('--allow-origin <url...>', 'web pages that may ask, as https://example.org')
    .option('--max-body <size>', 'largest request', sizeOf('--max-body'), 2 ** 20)
    .option('--drain <seconds>', 'how long requests may go on after SIGTERM', wholeNumberOf('--drain'), 30)
  return withTextModelOptions(command)
    .option('--json', 'print requests as lines of JSON on stdout')
    .option('--quiet', 'print no lines for requests')
    .addHelpText('after', help)
    .action(serve)
}

async function serve(paths: string[], flags: Flags): Promise<void> {
  const { json, quiet = false } = flags
  const { defaultLimits, startServer } = await import('../../server/index.ts')
  const settings: ServerSettings = {
    ...{ host: flags.host, port: flags.port, drainSeconds: flags.drain },
    ...{ keys: apiKeysOf(flags.apiKeyFile), origins: flags.allowOrigin ?? [] },
    perMinute: flags.rate,
    expertSeries: flags.expertSeries,
    limits: { ...defaultLimits, body: flags.maxBody },
  }
  const { result: models, seconds } = await timed(() => openModels(paths, flags))
  const closeAll = (): Promise<unknown> => Promise.all(models.map(({ engine }) => engine.close()))
  const log = json ? jsonLine : quiet ? undefined : textLine
  const server = await startServer(models, settings, log).catch(async error => {
    await closeAll()
    throw error
  })
  say(await whatIsServed(models, server.url, seconds), quiet)
  const onEnding = (): void => say('ending: no new requests', quiet)
  const interruption = new Interruption(onEnding, ['SIGHUP', 'SIGINT', 'SIGTERM'])
  await new Promise<void>(resolve => interruption.signal.addEventListener('abort', () => resolve()))
  await server.stop()
  await closeAll()
  interruption.release()
}

/** One model is loaded at once and stays; of several, or where an idle one goes, each when it is asked for, and the first now. */
async function openModels(paths: readonly string[], flags: Flags): Promise<ServedModel[]> {
  const { name, texts, context, cacheTokens, waiting, idle, memory: budget, quiet = false } = flags
  const { loaded = budget === undefined ? paths.length : 1 } = flags
  if (name !== undefined && paths.length > 1) throw new ConfigError('is for one model', { path: '--name' })
  if (budget !== undefined && loaded > 1)
    throw new ConfigError('must be 1 with --memory: a budget is for one model', { path: '--loaded' })
  const { servedModel } = await import('../../server/index.ts')
  const { EnginePool, engineFacts, WorkerEngine } = await import('../../engine/index.ts')
  const { placement, memory, deviceMemory, prefetch, onMiss, kv, serving } = textPlacementOf(flags)
  const { hints, ...fewer } = serving
  const options = {
    ...{ ...placement, memory, deviceMemory, prefetch, onMiss, hints, kv },
    ...{ texts, context, cacheTokens, waiting, ...(isSet(fewer) && { fewer }) },
  }
  const opened: OpenedModel[] = []
  for (const path of paths) opened.push(await openNamed(path, { quiet }))
  const open = ({ path }: OpenedModel) => WorkerEngine.open(path, options)
  const [first] = opened
  if (first && opened.length === 1 && idle === undefined) return [servedModel(first, await open(first), name)]
  const pool = new EnginePool({ most: loaded, idleSeconds: idle })
  const models = opened.map(model =>
    servedModel(
      model,
      pool.add(engineFacts(model, options), () => open(model)),
      name,
    ),
  )
  const twice = models.find(({ id }, i) => models.findIndex(other => other.id === id) < i)
  if (twice) throw new ConfigError(`two models are called '${twice.id}': rename a folder`, { path: 'model' })
  if (models[0]) await pool.load(models[0].engine)
  return models
}

async function whatIsServed(models: readonly ServedModel[], url: string, seconds: number): Promise<string> {
  const [{ engine } = {}] = models
  const status = await engine?.status()
  const what = [
    `loaded in ${seconds.toFixed(2)} s`,
    `${engine?.facts.texts} texts of ${engine?.facts.context} tokens at once`,
    ...(status?.experts ? [`experts: ${status.experts.resident} of ${status.experts.total} fit`] : []),
    ...(models.length > 1 ? ['the others are loaded when they are asked for'] : []),
  ]
  const names = models.map(({ id }) => bold(id)).join(', ')
  return `${names} at ${bold(`${url}/v1`)}: ${what.join(', ')}`
}

const isSet = (options: object): boolean => Object.values(options).some(value => value !== undefined)

function say(text: string, quiet: boolean): void {
  if (!quiet) process.stderr.write(`${text}\n`)
}

type Log = NonNullable<Parameters<typeof import('../../server/index.ts').startServer>[2]>

const jsonLine: Log = line => void process.stdout.write(`${JSON.stringify(line)}\n`)
const textLine: Log = line => void process.stderr.write(`${dim(logText(line))}\n`)

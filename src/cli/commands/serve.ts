// `switchyard serve`: a model for clients of the OpenAI API.

import { Command } from 'commander'
import type { ServerSettings } from '../../server/index.ts'
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
  texts?: number
  context?: number
  cacheTokens?: number
  waiting?: number
  apiKeyFile?: string
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
  switchyard serve model.gguf --memory 8GiB --texts 8 --context 8192
  SWITCHYARD_API_KEYS=secret switchyard serve model --host 0.0.0.0 --port 80`

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('answer clients of the OpenAI API over HTTP')
    .argument('<model>', 'model folder, run folder, .gguf file or downloaded org/name')
    .option('--host <address>', 'where to listen', '127.0.0.1')
    .option('--port <n>', '0: any that is free', wholeNumberOf('--port'), 8000)
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
    .option('--allow-origin <url...>', 'web pages that may ask, as https://example.org')
    .option('--max-body <size>', 'largest request', sizeOf('--max-body'), 2 ** 20)
    .option('--drain <seconds>', 'how long requests may go on after SIGTERM', wholeNumberOf('--drain'), 30)
  return withTextModelOptions(command)
    .option('--json', 'print requests as lines of JSON on stdout')
    .option('--quiet', 'print no lines for requests')
    .addHelpText('after', help)
    .action(serve)
}

async function serve(path: string, flags: Flags): Promise<void> {
  const { name, texts, context, cacheTokens, waiting, json, quiet = false } = flags
  const { placement, memory, prefetch, onMiss, kv, serving } = textPlacementOf(flags)
  const { hints, ...fewer } = serving
  const { defaultLimits, servedModel, startServer } = await import('../../server/index.ts')
  const settings: ServerSettings = {
    ...{ host: flags.host, port: flags.port, drainSeconds: flags.drain },
    ...{ keys: apiKeysOf(flags.apiKeyFile), origins: flags.allowOrigin ?? [] },
    limits: { ...defaultLimits, body: flags.maxBody },
  }
  const { WorkerEngine } = await import('../../engine/index.ts')
  const opened = await openNamed(path, { quiet })
  const sizes = { texts, context, cacheTokens, waiting }
  const options = {
    ...{ ...placement, memory, prefetch, onMiss, hints, kv },
    ...{ ...sizes, ...(isSet(fewer) && { fewer }) },
  }
  const { result: engine, seconds } = await timed(() => WorkerEngine.open(opened.path, options))
  const served = servedModel(opened, engine, name)
  const log = json ? jsonLine : quiet ? undefined : textLine
  const server = await startServer(served, settings, log).catch(async error => {
    await engine.close()
    throw error
  })
  const { facts } = engine
  const { experts } = await engine.status()
  const what = [
    `loaded in ${seconds.toFixed(2)} s`,
    `${facts.texts} texts of ${facts.context} tokens at once`,
    ...(experts ? [`experts: ${experts.resident} of ${experts.total} fit`] : []),
  ]
  say(`${bold(served.id)} at ${bold(`${server.url}/v1`)}: ${what.join(', ')}`, quiet)
  const onEnding = (): void => say('ending: no new requests', quiet)
  const interruption = new Interruption(onEnding, ['SIGHUP', 'SIGINT', 'SIGTERM'])
  await new Promise<void>(resolve => interruption.signal.addEventListener('abort', () => resolve()))
  await server.stop()
  await engine.close()
  interruption.release()
}

const isSet = (options: object): boolean => Object.values(options).some(value => value !== undefined)

function say(text: string, quiet: boolean): void {
  if (!quiet) process.stderr.write(`${text}\n`)
}

type Log = NonNullable<Parameters<typeof import('../../server/index.ts').startServer>[2]>

const jsonLine: Log = line => void process.stdout.write(`${JSON.stringify(line)}\n`)
const textLine: Log = line => void process.stderr.write(`${dim(logText(line))}\n`)

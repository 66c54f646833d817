#!/usr/bin/env node
// The command line. Each command file declares its own options and loads what it needs only when it runs, so that
// `--help` stays as quick as bare node.

import { createRequire } from 'node:module'
import { Command, CommanderError } from 'commander'
import { chatCommand } from './commands/chat.ts'
import { convertCommand } from './commands/convert.ts'
import { dataCommand } from './commands/data.ts'
import { doctorCommand } from './commands/doctor.ts'
import { evalCommand } from './commands/eval.ts'
import { finetuneCommand } from './commands/finetune.ts'
import { generateCommand } from './commands/generate.ts'
import { hintsCommand } from './commands/hints.ts'
import { initCommand } from './commands/init.ts'
import { inspectCommand } from './commands/inspect.ts'
import { launchCommand } from './commands/launch.ts'
import { quantizeCommand } from './commands/quantize.ts'
import { routingCommand } from './commands/routing.ts'
import { serveCommand } from './commands/serve.ts'
import { simulateCacheCommand } from './commands/simulate-cache.ts'
import { sweepCommand } from './commands/sweep.ts'
import { trainCommand } from './commands/train.ts'
import { verifyCommand } from './commands/verify.ts'
import { shareHelp } from './help.ts'
import { noticeClosedOutput } from './interruption.ts'
import { reportError } from './report.ts'

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }

/** The command that runs. */
let running: Command | undefined

function createProgram(): Command {
  const program = new Command('switchyard')
    .enablePositionalOptions()
    .description('Train, open, inspect and run Mixture-of-Experts models.')
    .version(version)
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 failed or differs, 2 wrong usage or settings,\n75 another rank failed, 128 + n signal n.',
    )
    .exitOverride()
  const commands = [
    dataCommand(),
    trainCommand(),
    finetuneCommand(),
    sweepCommand(),
    launchCommand(),
    evalCommand(),
    generateCommand(),
    chatCommand(),
    serveCommand(),
    initCommand(),
    inspectCommand(),
    convertCommand(),
    quantizeCommand(),
    verifyCommand(),
    routingCommand(),
    hintsCommand(),
    simulateCacheCommand(),
    doctorCommand(),
  ]
  for (const command of commands) program.addCommand(inherit(command))
  shareHelp(program)
  return program
}

/** What every command and its subcommands share. */
function inherit(command: Command): Command {
  command.exitOverride().hook('preAction', (_, action) => {
    running = action
  })
  if (command.commands.length === 0) command.option('--verbose', 'show stack traces of errors')
  for (const child of command.commands) inherit(child)
  return command
}

noticeClosedOutput()
try {
  await createProgram().parseAsync()
} catch (error) {
  // Commander has printed its own usage errors; help and version arrive here with exit code 0.
  process.exitCode =
    error instanceof CommanderError ? (error.exitCode === 0 ? 0 : 2) : reportError(error, running)
}

// `switchyard launch`: several processes of this machine as one, as torchrun --nproc-per-node starts them.

import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { Command } from 'commander'
import { failureExitCode } from '../../parallel/failure-code.ts'
import { wholeNumberOf } from '../values.ts'

const help = `
Sets RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT
for each process, as torchrun does. Across machines use torchrun, Slurm, mpirun or
Kubernetes: docs/scale.md has a line for each. When a rank fails the others end,
and so does this, with its exit code.

Examples:
  switchyard launch -n 2 train recipes/mixtral-tiny.yaml
  switchyard launch -n 4 train recipes/deepseek-tiny.yaml --mesh expert=2,data=2`

export function launchCommand(): Command {
  return new Command('launch')
    .description('run a command as several ranks on this machine')
    .requiredOption('-n, --ranks <n>', 'how many processes', wholeNumberOf('--ranks', 1))
    .option('--port <n>', 'where they meet (default: any that is free)', wholeNumberOf('--port', 1))
    .argument('<command...>', 'a command of switchyard, as train, and its arguments')
    .passThroughOptions()
    .addHelpText('after', help)
    .action(run)
}

async function run(command: string[], { ranks, port }: { ranks: number; port?: number }): Promise<void> {
  const meeting = { MASTER_ADDR: '127.0.0.1', MASTER_PORT: String(port ?? (await freePort())) }
  const children = Array.from({ length: ranks }, (_, rank) => startRank(command, rank, ranks, meeting))
  const forward = (signal: NodeJS.Signals): void => {
    for (const child of children) child.kill(signal)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, forward)
  const codes = await Promise.all(children.map(child => ended(child).then(code => endWith(code, children))))
  process.exitCode = codes.includes(failureExitCode) ? failureExitCode : (codes.find(code => code !== 0) ?? 0)
}

/** When a rank has failed the others know and leave, or are still on their way to the meeting, where it will not come. */
function endWith(code: number, children: readonly ChildProcess[]): number {
  const killAll = (): void => {
    for (const child of children) child.kill('SIGKILL')
  }
  if (code !== 0) setTimeout(killAll, patience).unref()
  return code
}

/** How long ranks have to leave by themselves, in milliseconds. */
const patience = 20_000

/** This program again, with the place of a rank in its environment. */
function startRank(
  command: readonly string[],
  rank: number,
  ranks: number,
  meeting: Record<string, string>,
): ChildProcess {
  const places = { RANK: rank, LOCAL_RANK: rank, WORLD_SIZE: ranks, LOCAL_WORLD_SIZE: ranks }
  const texts = Object.fromEntries(Object.entries(places).map(([name, value]) => [name, String(value)]))
  const [program = '', script = ''] = process.argv
  return spawn(program, [...process.execArgv, script, ...command], {
    stdio: 'inherit',
    env: { ...process.env, ...meeting, ...texts },
  })
}

/** Its exit code, or that of a shell for the signal that ended it. */
function ended(child: ChildProcess): Promise<number> {
  return new Promise(resolve => {
    child.on('error', () => resolve(1))
    child.on('exit', (code, signal) => resolve(code ?? (signal === 'SIGKILL' ? 137 : 143)))
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

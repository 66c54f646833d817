// `switchyard simulate-cache`: what caches of experts would have done with a recording.

import { Command, Option } from 'commander'
import type { PoolKind, PrefetchConfig, SimulatedPolicy } from '../../engine/index.ts'
import { ConfigError } from '../../errors.ts'
import { Progress } from '../progress.ts'
import { simulationReport } from '../simulation-report.ts'
import { prefetchOf, sharesOf } from '../values.ts'

interface Flags {
  capacity: number[]
  policy?: string
  pools: PoolKind
  prefetch?: PrefetchConfig
  json?: boolean
  quiet?: boolean
}

const usual = '12.5%,25%,50%,75%'

const help = `
Tokens are replayed one after the other, each through all layers, as they are
decoded. 'uniform' is what chance gives, 'belady' the most that any policy
could reach, as it knows the future; 'static' knows the recording's own counts.
Reading ahead fetches the experts that most often followed the choice of the
layer before, or those that hints name: 'useful' ones were used, 'wasted' ones
were not. It is tried with the policy that is the default for the capacity.

Policies: lru, lfu, lfru, least-stale, activation-aware, static, random, belady

Examples:
  switchyard simulate-cache tiny.trace
  switchyard simulate-cache tiny.trace --capacity 25%,50% --policy lru,belady`

export function simulateCacheCommand(): Command {
  return new Command('simulate-cache')
    .description('replay a recording of routing against caches of experts')
    .argument('<trace>', "made by 'switchyard routing trace'")
    .addOption(
      new Option('--capacity <list>', `shares of the experts that fit (default: ${usual})`)
        .argParser(sharesOf('--capacity'))
        .default(sharesOf('--capacity')(usual)),
    )
    .option('--policy <list>', 'only these policies, as lru,lfru (default: all)')
    .addOption(
      new Option('--pools <kind>', 'places for each layer, or shared by all')
        .choices(['layer', 'global'])
        .default('layer'),
    )
    .option('--prefetch <how>', 'history, hints:FILE or off (default: history)', prefetchOf('--prefetch'))
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but the result')
    .addHelpText('after', help)
    .action(simulate)
}

async function simulate(file: string, { capacity, policy, pools, prefetch, ...flags }: Flags): Promise<void> {
  const { readChoices, simulateCache, simulatedPolicies } = await import('../../engine/index.ts')
  const policies = policy === undefined ? simulatedPolicies : policiesNamed(policy, simulatedPolicies)
  const { header, choices } = readChoices(file)
  if (header.tokens === 0) throw new ConfigError('holds no tokens: record some', { path: file })
  const progress = new Progress({ quiet: flags.quiet === true })
  const simulation = await simulateCache(choices, {
    capacities: capacity,
    policies,
    pools,
    ...(prefetch && { prefetch }),
    onProgress: fraction => progress.update(fraction, 'replaying'),
  })
  progress.clear()
  const text = flags.json
    ? JSON.stringify({ trace: file, ...header, pools, ...simulation }, null, 2)
    : simulationReport(header, pools, simulation, Math.min(80, process.stdout.columns ?? 80))
  process.stdout.write(`${text}\n`)
}

function policiesNamed(list: string, known: readonly SimulatedPolicy[]): SimulatedPolicy[] {
  return list.split(',').map(text => {
    const name = known.find(policy => policy === text.trim())
    if (name) return name
    throw new ConfigError(`'${text.trim()}' is not one of ${known.join(', ')}`, { path: '--policy' })
  })
}

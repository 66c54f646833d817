// `switchyard sweep`: a recipe trained with several settings and seeds.

import { Command } from 'commander'
import { commandLine } from '../../command-line.ts'
import type { SweepEvent, SweepResult, SweepRun, SweepSummary } from '../../train/index.ts'
import { Interruption } from '../interruption.ts'
import { Progress } from '../progress.ts'
import { dim, table } from '../terminal.ts'
import { wholeNumberOf } from '../values.ts'

interface Flags {
  grid: string[]
  set: string[]
  seeds: number
  out?: string
  json?: boolean
  quiet?: boolean
}

const help = `
Runs are trained one after another, each in a folder of its own under --out
(a run folder as of 'train'). The same command again goes on where it was: what
is finished stays, what was interrupted is resumed, and new values or seeds are
added. The table has the best validation loss of each run: the mean over seeds,
and its standard deviation. A run that diverges counts as such.

Examples:
  switchyard sweep recipes/demo.yaml --grid optimizer.learningRate=2e-3,4e-3
  switchyard sweep recipes/demo.yaml --set steps=200 --seeds 5 \\
    --grid optimizer.kind=adamw,muon --grid losses.labelSmoothing=0,0.1`

export function sweepCommand(): Command {
  return new Command('sweep')
    .description('train a recipe with several settings and seeds')
    .argument('<recipe>', 'YAML file')
    .requiredOption(
      '--grid <path=v1,v2>',
      'a setting and its values, as in YAML; may be repeated',
      (text: string, all: string[] = []) => [...all, text],
    )
    .option('--seeds <n>', 'runs of each combination', wholeNumberOf('--seeds', 1), 3)
    .option(
      '--set <path=value>',
      'override a setting in all runs; may be repeated',
      (value, all: string[]) => [...all, value],
      [],
    )
    .option('--out <dir>', 'folder of the runs (default: runs/<recipe>-sweep)')
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but the result')
    .addHelpText('after', help)
    .action(run)
}

async function run(file: string, { grid, seeds, set, ...flags }: Flags): Promise<void> {
  const { gridAxis, loadRecipe, shownValue, summarized, sweep, sweepRuns } = await import(
    '../../train/index.ts'
  )
  const runs = sweepRuns({
    recipeOf: overrides => loadRecipe(file, [...set, ...overrides]),
    grid: grid.map(gridAxis),
    seeds,
  })
  const out = flags.out ?? `runs/${runs[0]?.recipe.name}-sweep`
  const progress = new Progress({ quiet: flags.quiet === true || flags.json === true })
  const interruption = new Interruption(() => progress.note('stopping after this step, with a checkpoint'))
  const results: { run: SweepRun; result: SweepResult }[] = []
  try {
    for await (const event of sweep(runs, { out, signal: interruption.signal })) {
      if (event.type === 'result') results.push(event)
      show(event, progress, results.length, runs.length)
    }
  } finally {
    progress.clear()
    interruption.release()
  }
  const combinations = summarized(results)
  const report = flags.json
    ? JSON.stringify({ out, finished: results.length, runs: runs.length, combinations }, null, 2)
    : results.length > 0
      ? sweepTable(combinations, shownValue)
      : 'no run is finished'
  process.stdout.write(`${report}\n`)
  if (results.length === runs.length) return
  process.exitCode = interruption.exitCode
  progress.note(
    `${results.length} of ${runs.length} runs are finished: '${commandLine()} sweep' with the same options goes on`,
  )
}

function show(event: SweepEvent, progress: Progress, done: number, all: number): void {
  const { name, recipe } = event.run
  if (event.type === 'result') {
    const { loss, diverged } = event.result
    const outcome = diverged ? 'diverged' : loss === null ? 'no validation split' : `loss ${loss.toFixed(4)}`
    progress.line(`${done}/${all}`, outcome, dim(name))
    return
  }
  const { event: inner } = event
  if (inner.type === 'warning') progress.line(`${name}: ${inner.message}`)
  if (inner.type !== 'step') return
  progress.update((done + inner.step / recipe.steps) / all, `run ${done + 1}/${all}`, name)
}

function sweepTable(combinations: readonly SweepSummary[], shownValue: (value: unknown) => string): string {
  const paths = Object.keys(combinations[0]?.settings ?? {})
  const rows = combinations.map(({ settings, mean, deviation, runs }) => {
    const diverged = runs.filter(each => each.diverged).length
    return [
      ...paths.map(path => shownValue(settings[path])),
      mean?.toFixed(4) ?? '-',
      deviation?.toFixed(4) ?? '-',
      `${runs.length}${diverged > 0 ? `, ${diverged} diverged` : ''}`,
    ]
  })
  return table([[...paths, 'loss', 'deviation', 'runs'], ...rows])
}

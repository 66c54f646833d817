// A training run as the terminal shows it.

import { commandLine } from '../command-line.ts'
import type { Recipe, StepRecord, TrainEvent } from '../train/index.ts'
import { evaluationTable, expertLoadTable } from './evaluation-tables.ts'
import { Progress } from './progress.ts'
import { bold, cyan, dim, green, shortCount, shortTime, yellow } from './terminal.ts'

export interface ReporterOptions {
  json?: boolean
  quiet?: boolean
}

export class TrainReporter {
  readonly #json: boolean
  readonly #quiet: boolean
  readonly #progress: Progress
  readonly #pace = new Pace()
  #recipe: Recipe | undefined
  #run = ''
  /** The last observed step. */
  #seen: StepRecord | undefined

  constructor({ json = false, quiet = false }: ReporterOptions) {
    this.#json = json
    this.#quiet = quiet || json
    this.#progress = new Progress({ quiet: this.#quiet })
  }

  show(event: TrainEvent): void {
    if (this.#json) printJson(event)
    else if (event.type === 'start') this.#start(event)
    else if (event.type === 'step') this.#step(event)
    else if (event.type === 'evaluation') this.#evaluation(event)
    else if (event.type === 'sample') this.#sample(event)
    else if (event.type === 'checkpoint') this.#progress.line(dim(`checkpoint ${event.folder}`))
    else if (event.type === 'warning') this.note(event.message)
    else this.#end(event)
  }

  /** A line that matters, also when quiet. */
  note(message: string): void {
    this.#progress.note(message)
  }

  close(): void {
    this.#progress.clear()
  }

  #start({ trainer, run, resumedFrom }: Extract<TrainEvent, { type: 'start' }>): void {
    const { recipe, config, corpus, tokensPerStep, device } = trainer
    this.#recipe = recipe
    this.#run = run
    const experts =
      config.model_type === 'mixtral'
        ? `${config.num_local_experts} experts top-${config.num_experts_per_tok}`
        : 'dense'
    const parameters = shortCount(trainer.model.numParameters)
    this.#progress.line(
      `${bold(recipe.name)}  ${config.model_type}, ${experts}, ${parameters} parameters, ${device}`,
    )
    this.#progress.line(
      dim(
        `${shortCount(corpus.train.tokens)} tokens of ${corpus.domains.join(', ')}; ${recipe.steps} steps of ${shortCount(tokensPerStep)} tokens; run folder ${run}`,
      ),
    )
    if (resumedFrom !== null) this.#progress.line(dim(`going on from step ${resumedFrom}`))
  }

  #step(event: StepRecord): void {
    const { steps = 1, logging } = this.#recipe ?? {}
    if (event.losses) this.#seen = event
    if (!event.updated) this.note(`step ${event.step} skipped: its gradient holds NaN or infinity`)
    this.#pace.add(event)
    const left = (steps - event.step) * this.#pace.secondsPerStep
    this.#progress.update(
      event.step / steps,
      `${this.#describe(event.step)}  ${dim(`${shortTime(left)} left`)}`,
    )
    if (event.losses && !process.stderr.isTTY && event.step % (10 * (logging?.every ?? 10)) === 0) {
      this.#progress.line(this.#describe(event.step))
    }
  }

  #describe(step: number): string {
    const { losses, routing = [] } = this.#seen ?? {}
    const balance = Math.max(...routing.map(layer => layer.maxOverMean))
    const dead = routing.reduce((sum, layer) => sum + layer.dead, 0)
    return [
      `step ${step}`,
      losses && `loss ${(losses.crossEntropy ?? 0).toFixed(4)}`,
      `${shortCount(Math.round(this.#pace.tokensPerSecond))} tok/s`,
      routing.length > 0 && `busiest expert ${balance.toFixed(2)}x mean${dead > 0 ? `, ${dead} idle` : ''}`,
    ]
      .filter(Boolean)
      .join('  ')
  }

  #evaluation({ step, evaluation }: Extract<TrainEvent, { type: 'evaluation' }>): void {
    const isLast = step === this.#recipe?.steps
    const { loss, perplexity, bitsPerByte, domains } = evaluation
    if (isLast && !this.#quiet) {
      this.#progress.clear()
      process.stdout.write(
        `\n${bold('validation')}\n${evaluationTable(evaluation)}${expertLoadTable(evaluation)}\n\n`,
      )
      return
    }
    const each = domains.map(domain => `${domain.name} ${domain.loss.toFixed(3)}`).join(', ')
    const line = `validation at step ${step}: ${cyan(`loss ${loss.toFixed(4)}`)}, perplexity ${perplexity.toFixed(1)}, ${bitsPerByte.toFixed(3)} bits/byte (${each})`
    this.#progress.line(line)
  }

  #sample({ step, prompt, text }: Extract<TrainEvent, { type: 'sample' }>): void {
    this.#progress.line(`${dim(`sample at step ${step}:`)} ${bold(prompt)}${text.trimEnd()}`)
  }

  #end({ state, step }: Extract<TrainEvent, { type: 'end' }>): void {
    this.#progress.clear()
    if (step === 0) return void process.stdout.write(`${yellow(state)} before the first step\n`)
    const next =
      state === 'finished' ? `generate ${this.#run} --prompt TEXT` : `train --out ${this.#run} --resume`
    const paint = state === 'finished' ? green : yellow
    process.stdout.write(`${paint(state)} at step ${step}: ${this.#run}\n`)
    process.stdout.write(`${dim(`next: ${commandLine()} ${next}`)}\n`)
  }
}

/** Speed over the last steps, which settles faster than the mean of the run. */
class Pace {
  readonly #recent: { seconds: number; tokensPerSecond: number }[] = []

  add(step: { seconds: number; tokensPerSecond: number }): void {
    this.#recent.push(step)
    if (this.#recent.length > 20) this.#recent.shift()
  }

  get secondsPerStep(): number {
    return this.#recent.reduce((sum, step) => sum + step.seconds, 0) / Math.max(1, this.#recent.length)
  }

  get tokensPerSecond(): number {
    const tokens = this.#recent.reduce((sum, step) => sum + step.tokensPerSecond * step.seconds, 0)
    return tokens / this.#recent.reduce((sum, step) => sum + step.seconds, 1e-9)
  }
}

function printJson(event: TrainEvent): void {
  const { type, ...rest } = event
  const shown =
    type === 'start' ? { run: event.run, resumedFrom: event.resumedFrom, recipe: event.trainer.recipe } : rest
  process.stdout.write(`${JSON.stringify({ type, ...shown })}\n`)
}

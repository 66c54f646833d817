// A training run as the terminal shows it.

import { commandLine } from '../command-line.ts'
import type { Recipe, RunStart, StepRecord, TrainEvent } from '../train/index.ts'
import { evaluationTable, expertTables } from './evaluation-tables.ts'
import { Pace } from './pace.ts'
import { Progress } from './progress.ts'
import {
  bold,
  count,
  cyan,
  dim,
  green,
  shortBytes,
  shortCount,
  shortTime,
  table,
  wrapList,
  yellow,
} from './terminal.ts'

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
  /** What to do with the finished model. */
  #use = ''
  /** The last observed step. */
  #seen: StepRecord | undefined
  /** The last step that has a line of its own. */
  #lastLine: number | undefined

  constructor({ json = false, quiet = false }: ReporterOptions) {
    this.#json = json
    this.#quiet = quiet || json
    this.#progress = new Progress({ quiet: this.#quiet })
  }

  show(event: TrainEvent): void {
    if (this.#json) process.stdout.write(`${JSON.stringify(event)}\n`)
    else if (event.type === 'start') this.#start(event)
    else if (event.type === 'step') this.#step(event)
    else if (event.type === 'evaluation') this.#evaluation(event)
    else if (event.type === 'preferences') this.#preferences(event)
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

  #start({ recipe, run, resumedFrom, tokensPerStep, ...about }: RunStart): void {
    this.#recipe = recipe
    this.#run = run
    this.#use =
      about.modelType === 'switchyard_moe_encoder'
        ? `eval ${run} --data ${recipe.data.path}`
        : `generate ${run} --prompt TEXT`
    const parameters = `${shortCount(about.parameters)} parameters`
    const place = about.products === 'f32' ? about.device : `${about.device} in ${about.products}`
    this.#progress.line(bold(recipe.name), about.modelType, about.feedForward, parameters, place)
    this.#trainedParts(about)
    const text = `${shortCount(about.trainingTokens)} tokens of `
    this.#progress.line(dim(text + wrapList(about.domains, text.length, this.#progress.width)))
    const memory = shortBytes(about.memory)
    this.#progress.line(
      dim(
        `${count(recipe.steps)} steps of up to ${count(tokensPerStep)} tokens, with about ${memory} of memory, in ${run}`,
      ),
    )
    if (resumedFrom !== null) this.#progress.line(dim(`going on from step ${count(resumedFrom)}`))
  }

  /** What is trained and what is not, where that is not all of it. */
  #trainedParts({ trained, parameters }: Pick<RunStart, 'trained' | 'parameters'>): void {
    const moved = trained.reduce((sum, part) => sum + part.trained, 0)
    if (moved === parameters) return
    const share = ((100 * moved) / parameters).toFixed(moved < parameters / 10 ? 2 : 0)
    const rows = trained.map(part => [
      part.role,
      count(part.parameters),
      part.trained === 0 ? 'frozen' : part.trained === part.parameters ? 'all' : count(part.trained),
    ])
    this.#progress.line(table([['part', 'parameters', `trained (${share}%)`], ...rows]))
  }

  #step(event: StepRecord): void {
    const { step, losses, updated } = event
    const steps = this.#recipe?.steps ?? 1
    if (losses) this.#seen = event
    if (updated === false) this.note(`step ${step} skipped: its gradient holds NaN or infinity`)
    this.#pace.add(event.seconds)
    if (losses && this.#isTimeForLine(step)) {
      this.#lastLine = step
      this.#progress.line(`step ${count(step)}`, ...this.#describe(event))
    }
    const left = `${shortTime((steps - step) * this.#pace.secondsPerStep)} left`
    this.#progress.update(step / steps, `${count(step)}/${count(steps)}`, left, ...this.#describe(event))
  }

  /** The first step, and then a line for each tenth of the run or every tenth metric, whichever comes sooner. */
  #isTimeForLine(step: number): boolean {
    const { steps = 1, logging } = this.#recipe ?? {}
    const interval = Math.min(10 * (logging?.every ?? 1), Math.ceil(steps / 10))
    return this.#lastLine === undefined || step - this.#lastLine >= interval || step === steps
  }

  /** The speed, and what was last seen of losses and routing, with its step where that is not the present one. */
  #describe({ step, tokensPerSecond }: StepRecord): string[] {
    const { losses, routing = [], retrieval = [], step: seen = step } = this.#seen ?? {}
    const busiest = Math.max(...routing.map(layer => layer.maxOverMean))
    const idle = routing.reduce((sum, layer) => sum + layer.dead, 0)
    const loss = losses && `loss ${(losses.crossEntropy ?? losses.preference ?? 0).toFixed(4)}`
    return [
      loss && (seen === step ? loss : `${loss} (step ${count(seen)})`),
      losses?.accuracy !== undefined && `${(100 * losses.accuracy).toFixed(0)}% of pairs right`,
      `${shortCount(Math.round(tokensPerSecond))} tok/s`,
      retrieval.length > 0 && retrievalText(retrieval),
      routing.length > 0 && `busiest expert ${busiest.toFixed(2)}x mean${idle > 0 ? `, ${idle} idle` : ''}`,
    ].filter(part => typeof part === 'string')
  }

  #evaluation({ step, evaluation }: Extract<TrainEvent, { type: 'evaluation' }>): void {
    if (step === this.#recipe?.steps && !this.#quiet) {
      this.#progress.clear()
      const load = expertTables(evaluation, process.stdout.columns ?? 80)
      process.stdout.write(`\n${bold('validation')}\n${evaluationTable(evaluation)}${load}\n\n`)
      return
    }
    const { loss, perplexity, bitsPerByte, domains } = evaluation
    this.#progress.line(
      `validation at step ${count(step)}: ${cyan(`loss ${loss.toFixed(4)}`)}`,
      `perplexity ${perplexity.toFixed(1)}`,
      `${bitsPerByte.toFixed(3)} bits/byte`,
    )
    const label = '  loss by domain: '
    const each = domains.map(domain => `${domain.name} ${domain.loss.toFixed(3)}`)
    this.#progress.line(dim(label + wrapList(each, label.length, this.#progress.width)))
  }

  #preferences({ step, score }: Extract<TrainEvent, { type: 'preferences' }>): void {
    const { loss, accuracy, margin, drift, pairs } = score
    this.#progress.line(
      `validation at step ${count(step)}: ${cyan(`loss ${loss.toFixed(4)}`)}`,
      `${(100 * accuracy).toFixed(0)}% of ${count(pairs)} pairs right`,
      `margin ${margin.toFixed(3)}, drift ${drift.toFixed(2)} nats`,
    )
  }

  #sample({ step, prompt, text }: Extract<TrainEvent, { type: 'sample' }>): void {
    this.#progress.line(`${dim(`sample at step ${count(step)}:`)} ${bold(prompt)}${text.trimEnd()}`)
  }

  #end({ state, step }: Extract<TrainEvent, { type: 'end' }>): void {
    this.#progress.clear()
    if (step === 0) return void process.stdout.write(`${yellow(state)} before the first step\n`)
    const next = state === 'finished' ? this.#use : `train --out ${this.#run} --resume`
    const paint = state === 'finished' ? green : yellow
    process.stdout.write(`${paint(state)} at step ${count(step)}: ${this.#run}\n`)
    process.stdout.write(`${dim(`next: ${commandLine()} ${next}`)}\n`)
  }
}

/** Of the layer that uses fewest of its experts. */
function retrievalText(retrieval: NonNullable<StepRecord['retrieval']>): string {
  const used = Math.min(...retrieval.map(layer => layer.used))
  const unevenness = Math.max(...retrieval.map(layer => layer.unevenness))
  return `${(100 * used).toFixed(0)}% of experts used, unevenness ${unevenness.toFixed(2)}`
}

// Checkpoints: a model folder, and all that training needs to go on as if it had never stopped. Written beside and
// renamed into place, so that a folder `step-N` is always whole.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { ConfigError, FormatError } from '../../errors.ts'
import { flush } from '../../files.ts'
import { writeSafetensors } from '../../formats/index.ts'
import { averageFolder, listCheckpoints, openTensors, stepOf, wholeTensorSource } from '../../models/index.ts'
import { type Device, Generator, noGrad, tidy } from '../../torch/index.ts'
import type { PartedStates } from '../mesh/parts.ts'
import type { Optimizer } from '../optimizer/optimizer.ts'
import type { WeightAverage } from '../weight-average.ts'
import { verifyChecksums, writeChecksums } from './checksums.ts'
import type { CheckpointWeights } from './weights.ts'

const stateSchema = z.strictObject({
  format: z.literal('switchyard-checkpoint'),
  version: z.literal(1),
  /** Optimizer steps finished. */
  step: z.int().nonnegative(),
  /** Tokens trained on. */
  tokens: z.int().nonnegative(),
  /** Steps that were skipped for their gradients, in all and in a row. */
  skipped: z.int().nonnegative(),
  skippedInRow: z.int().nonnegative(),
  /** Updates of the optimizer. */
  updates: z.int().nonnegative(),
  /** Where the order of windows stands. */
  sampler: z.strictObject({ epoch: z.int().nonnegative(), position: z.int().nonnegative() }),
  /** Of f16 training alone. */
  lossScale: z.strictObject({ scale: z.number().positive(), steps: z.int().nonnegative() }).optional(),
  /** Of the corpus's manifest and tokenizer: the same windows of another corpus would be another training. */
  corpus: z.string(),
  /** The best validation loss so far. */
  best: z.strictObject({ step: z.int(), loss: z.number() }).nullable(),
})

export type TrainingState = Omit<z.infer<typeof stateSchema>, 'format' | 'version' | 'updates'>

/** What a checkpoint saves and restores. */
export interface Trainee {
  weights: CheckpointWeights
  optimizer: Optimizer
  /** Of the weights; saved as a model folder within the checkpoint. */
  average?: WeightAverage | null
  device: Device
  /** Where states of the optimizer are parts of wholes, which is what a checkpoint has. Default: they are whole. */
  parted?: PartedStates | null
  /** Whether this process writes what all have together. Default: it does. */
  writes?: boolean
  /** Writes the files of its tokenizer, and what belongs to them, into a folder. */
  saveTokenizer(folder: string): void
  /** See TrainingState. */
  corpusFingerprint: string
}

/** Saves `step-N` under `folder` and returns its path. On failure nothing of it stays. */
export async function saveCheckpoint(
  folder: string,
  trainee: Trainee,
  state: TrainingState,
): Promise<string> {
  const target = join(folder, `step-${String(state.step).padStart(8, '0')}`)
  if (trainee.writes === false) {
    passOn(trainee)
    return target
  }
  const temporary = join(folder, `.writing-${process.pid}`)
  rmSync(temporary, { recursive: true, force: true })
  mkdirSync(temporary, { recursive: true })
  try {
    trainee.weights.save(temporary)
    trainee.saveTokenizer(temporary)
    saveAverage(join(temporary, averageFolder), trainee)
    saveOptimizer(temporary, trainee)
    writeState(temporary, trainee, state)
    await writeChecksums(temporary)
    for (const name of readdirSync(temporary, { encoding: 'utf8', recursive: true }))
      flush(join(temporary, name))
    flush(temporary)
    rmSync(target, { recursive: true, force: true })
    renameSync(temporary, target)
    flush(folder)
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true })
    throw error
  }
  return target
}

/** What a process does that has parts of what another one writes, in the same order. */
function passOn(trainee: Trainee): void {
  trainee.weights.save('')
  if (trainee.average) {
    trainee.average.swap()
    trainee.weights.save('')
    trainee.average.swap()
  }
  saveOptimizer('', trainee)
}

function saveAverage(folder: string, trainee: Trainee): void {
  const { average, weights } = trainee
  if (!average) return
  mkdirSync(folder)
  average.swap()
  try {
    weights.save(folder)
  } finally {
    average.swap()
  }
  trainee.saveTokenizer(folder)
}

function saveOptimizer(folder: string, { optimizer, device, parted, writes = true }: Trainee): void {
  using generator = Generator.shared(device)
  tidy(() => {
    const states = [...optimizer.state()].map(
      ([name, state]) => [name, parted?.whole(name, state) ?? state] as const,
    )
    if (!writes) return
    const tensors = new Map([...states, ['random.state', generator.state]])
    writeSafetensors(
      join(folder, 'optimizer.safetensors'),
      [...tensors].map(([name, tensor]) => wholeTensorSource(name, tensor)),
    )
  })
}

function writeState(folder: string, { optimizer }: Trainee, state: TrainingState): void {
  const content = { format: 'switchyard-checkpoint', version: 1, ...state, updates: optimizer.step }
  writeFileSync(join(folder, 'state.json'), `${JSON.stringify(content, null, 2)}\n`)
}

/** Restores a trainee exactly. Throws FormatError when anything is damaged, before anything is changed. */
export async function restoreCheckpoint(folder: string, trainee: Trainee): Promise<TrainingState> {
  await verifyChecksums(folder)
  const { format: _, version: __, updates, ...state } = readState(folder)
  if (state.corpus !== trainee.corpusFingerprint) {
    throw new ConfigError(
      'the corpus has changed since the run was started: put it back, set this to its new place, or start a new run',
      { path: 'data.path' },
    )
  }
  if (trainee.average) {
    trainee.weights.load(join(folder, averageFolder))
    trainee.average.swap()
  }
  trainee.weights.load(folder)
  tidy(() => restoreOptimizer(folder, trainee))
  trainee.optimizer.step = updates
  return state
}

function readState(folder: string): z.infer<typeof stateSchema> {
  const file = join(folder, 'state.json')
  try {
    return stateSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch (cause) {
    throw new FormatError('is damaged or of another version', { file, cause })
  }
}

function restoreOptimizer(folder: string, { optimizer, device, parted }: Trainee): void {
  const file = join(folder, 'optimizer.safetensors')
  const saved = openTensors(file)
  noGrad(() => {
    for (const [name, tensor] of optimizer.state()) {
      const from = saved.get(name)
      if (!from) throw new FormatError(`holds no tensor '${name}'`, { file })
      tensor.copy_(parted?.part(name, from, tensor) ?? from)
    }
  })
  const random = saved.get('random.state')
  if (!random) throw new FormatError("holds no tensor 'random.state'", { file })
  using generator = Generator.shared(device)
  generator.state = random.clone()
}

/** Puts a damaged checkpoint aside, as `step-N.damaged`, where it counts no more. Returns its new path. */
export function setAside(folder: string): string {
  const aside = `${folder}.damaged`
  rmSync(aside, { recursive: true, force: true })
  renameSync(folder, aside)
  return aside
}

/** Removes what a killed process was still writing. */
export function removeUnfinished(folder: string): void {
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    if (name.startsWith('.writing-')) rmSync(join(folder, name), { recursive: true, force: true })
  }
}

/** Removes all but the newest `keepLast` checkpoints and the one of `bestStep`. */
export function pruneCheckpoints(folder: string, keepLast: number, bestStep: number | null): void {
  for (const path of listCheckpoints(folder).slice(keepLast)) {
    if (stepOf(path) !== bestStep) rmSync(path, { recursive: true, force: true })
  }
}

// A training step as a CUDA graph: one start in place of thousands of operators.

import type { TrainableModel } from '../models/index.ts'
import { type Replay, replayable, type Tensor, tidy, zeros } from '../torch/index.ts'
import type { Batch, Objective } from './objective.ts'
import { gradientNorm } from './optimizer/clip.ts'
import type { RecordableOptimizer } from './optimizer/optimizer.ts'
import { adaptRouters, backward, describeStep, type StepOptions, type StepResult } from './step.ts'

interface Recorded {
  objectives: Objective[]
  norm: Tensor
}

/**
 * trainStep() for batches of one shape, recorded at the first step: the same operators on the same memory, without the
 * host's work. Losses, clip and types are part of the record; the learning rate is not. Nothing in the step may wait for
 * the device (see CudaGraph): no capacity, and routers that choose on the device.
 */
export class GraphedStep {
  readonly #model: TrainableModel
  readonly #optimizer: RecordableOptimizer
  readonly #batches: Batch[]
  /** Added to the gradient's norm: infinite while the step is tried out, so that nothing moves. */
  readonly #gate: Tensor
  readonly #graph: Replay<Recorded>

  /** @param batches of the shapes to come */
  constructor(
    model: TrainableModel,
    optimizer: RecordableOptimizer,
    batches: readonly Batch[],
    options: StepOptions,
  ) {
    const { device } = model
    this.#model = model
    this.#optimizer = optimizer
    this.#batches = batches.map(copyOf)
    optimizer.reserve() // memory of the optimizer's, not of the graph
    this.#gate = zeros([], { device }).fill_(Number.POSITIVE_INFINITY).persist()
    this.#graph = replayable(() => this.#step(options), device)
    this.#gate.zero_()
    model.discard()
  }

  #step(options: StepOptions): Recorded {
    this.#model.zeroGrad()
    const objectives = this.#batches.map(batch =>
      backward(this.#model, batch, 1 / this.#batches.length, options),
    )
    const norm = gradientNorm(options.trained ?? this.#model.parameters())
    this.#optimizer.move({ norm: norm.add(this.#gate), clip: options.clip })
    return { objectives, norm }
  }

  /** One step on batches of the recorded shapes. */
  run(batches: readonly Batch[], { learningRate, pace = 1, observe }: StepOptions): StepResult {
    tidy(() => {
      for (const [i, batch] of batches.entries()) fill(this.#batches[i] as Batch, batch)
      this.#optimizer.prepare(learningRate)
    })
    return tidy(() => {
      const { objectives, norm } = this.#graph.run()
      const result = observe ? describeStep(objectives, norm.item()) : { gradientNorm: null, updated: null }
      adaptRouters(this.#model, result.updated, { pace })
      return result
    })
  }

  dispose(): void {
    this.#graph[Symbol.dispose]()
    this.#gate.dispose()
    for (const batch of this.#batches) for (const tensor of partsOf(batch)) tensor.dispose()
  }
}

const partsOf = ({ inputs: { ids, positions, tasks }, targets }: Batch): Tensor[] => [
  ids,
  positions,
  targets,
  ...(tasks ? [tasks] : []),
]

function copyOf({ inputs, targets }: Batch): Batch {
  const copied = (tensor: Tensor): Tensor => tensor.clone().persist()
  const { ids, positions, tasks = null } = inputs
  return {
    inputs: { ...inputs, ids: copied(ids), positions: copied(positions), tasks: tasks && copied(tasks) },
    targets: copied(targets),
  }
}

function fill(into: Batch, from: Batch): void {
  const sources = partsOf(from)
  for (const [i, tensor] of partsOf(into).entries()) tensor.copy_(sources[i] as Tensor, true)
}

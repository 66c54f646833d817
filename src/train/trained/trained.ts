// What of a model an optimizer moves; all else is frozen.

import { ConfigError } from '../../errors.ts'
import { type Share, select, selectable, type TrainableModel } from '../../models/index.ts'
import type { Parameter, Role } from '../../nn/index.ts'
import { ExpertSlice } from './expert-slice.ts'

/** How much of the parameters of a role is trained. */
export interface TrainedPart {
  role: Role
  parameters: number
  trained: number
}

/** Freezes what a selection leaves out. Of a parameter of which some experts are trained, these are slices. */
export class TrainedParameters {
  /** What is trained, by path, in the order of the model. */
  readonly parameters: ReadonlyMap<string, Parameter>
  /** The parameters of which anything is trained, whole. */
  readonly touched: ReadonlyMap<string, Parameter>
  readonly parts: readonly TrainedPart[]
  /** Whether routers may also adapt what no gradient trains; see Router.adapt(). */
  readonly adaptsRouters: boolean
  readonly #slices: ExpertSlice[]

  /** @param model whose parameters have the memory that they are going to keep */
  constructor(model: TrainableModel, selection: readonly string[]) {
    const all = model.namedParameters()
    const chosen = select(selection, selectable(model))
    for (const [path, parameter] of all) if (!chosen.has(path)) parameter.requiresGrad_(false)
    refuseEncoded(all, chosen)
    this.touched = new Map([...all].filter(([path]) => chosen.has(path)))
    this.parameters = new Map(
      [...all].flatMap(([path, parameter]) => trainedOf(path, parameter, chosen.get(path))),
    )
    this.#slices = [...this.parameters.values()].filter(parameter => parameter instanceof ExpertSlice)
    this.parts = partsOf(all, this.parameters)
    this.adaptsRouters = this.parts.every(
      ({ role, trained, parameters }) => role !== 'router' || trained === parameters,
    )
  }

  dispose(): void {
    for (const slice of this.#slices) slice.dispose()
  }
}

/** @throws ConfigError for what stays as its file encodes it, which has no gradient */
function refuseEncoded(all: ReadonlyMap<string, Parameter>, chosen: ReadonlyMap<string, Share>): void {
  for (const path of chosen.keys()) {
    const encoding = all.get(path)?.encoding ?? null
    if (encoding === null) continue
    throw new ConfigError(
      `${path} stays as its file encodes it and cannot be trained: leave it out, or set model.weights to decoded`,
      {
        path: 'trained',
      },
    )
  }
}

function trainedOf(path: string, parameter: Parameter, share: Share = []): [string, Parameter][] {
  if (share === 'all') return [[path, parameter]]
  return share.map(expert => [`${path}.${expert}`, ExpertSlice.of(parameter, expert)])
}

function partsOf(
  all: ReadonlyMap<string, Parameter>,
  trained: ReadonlyMap<string, Parameter>,
): TrainedPart[] {
  const parts = new Map<Role, TrainedPart>()
  const partOf = ({ declaration: { role } }: Parameter): TrainedPart => {
    const part = parts.get(role) ?? { role, parameters: 0, trained: 0 }
    parts.set(role, part)
    return part
  }
  for (const parameter of all.values()) partOf(parameter).parameters += parameter.numel
  for (const parameter of trained.values()) partOf(parameter).trained += parameter.numel
  return [...parts.values()]
}

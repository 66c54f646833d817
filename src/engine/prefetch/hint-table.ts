// What each token of the vocabulary made routers choose in a recording. The file is JSON:
//
//   { "version": 1, "model": "...", "layers": L, "experts": E, "hints": { "ID": [[experts of MoE layer 0], ...] } }

import { readFileSync, statSync } from 'node:fs'
import { z } from 'zod'
import { ConfigError, FormatError } from '../../errors.ts'
import { writeDurably } from '../../files.ts'
import { issueText } from '../../schema-issue.ts'
import type { ExpertGrid } from '../cache/policy.ts'
import { emptySlot, type RoutingChoices } from '../trace/choices.ts'

const version = 1

/** More than the recordings that fit into memory give. */
const maxBytes = 2 ** 29

const count = z.int().nonnegative()

const schema = z.strictObject({
  version: z.literal(version),
  /** What the recorded model is called. It is shown on terminals, which obey control characters. */
  model: z.string().regex(/^\P{Cc}*$/u, 'must have no control characters'),
  layers: count.min(1).max(4096),
  experts: count.min(1).max(65_535),
  hints: z.record(z.string().regex(/^\d{1,10}$/, 'must be token ids'), z.array(z.array(count.max(65_534)))),
})

export interface HintTable extends ExpertGrid {
  /** What the recorded model is called. */
  model: string
  /** By token id, of each MoE layer the experts to expect, the likeliest first. */
  hints: ReadonlyMap<number, readonly (readonly number[])[]>
}

/** Share of a token's choices that its hint covers. */
const usualMass = 0.9

/**
 * Of each token and layer the smallest set of experts that covers a share of what the token chose there, but no more than
 * one token chooses at once.
 *
 * @param mass above 0, at most 1. Default 0.9
 */
export function hintsOf(choices: RoutingChoices, model: string, mass = usualMass): HintTable {
  const { layers, experts, topK } = choices
  const hints = new Map<number, number[][]>()
  for (const [id, perLayer] of countByToken(choices))
    hints.set(
      id,
      perLayer.map(counts => covering(counts, mass).slice(0, topK)),
    )
  return { model, layers, experts, hints }
}

/** By token id, of each layer how often each expert was chosen. */
function countByToken({ layers, topK, ids, chosen }: RoutingChoices): Map<number, Map<number, number>[]> {
  const all = new Map<number, Map<number, number>[]>()
  for (const [t, id] of ids.entries()) {
    const perLayer = all.get(id) ?? Array.from({ length: layers }, () => new Map<number, number>())
    all.set(id, perLayer)
    for (const [layer, counts] of perLayer.entries()) {
      const first = (t * layers + layer) * topK
      for (const expert of chosen.subarray(first, first + topK))
        if (expert !== emptySlot) counts.set(expert, (counts.get(expert) ?? 0) + 1)
    }
  }
  return all
}

/** The most frequent, until they have the share of all; of equals the lowest first. */
function covering(counts: ReadonlyMap<number, number>, mass: number): number[] {
  const sorted = [...counts].sort(([a, uses], [b, others]) => others - uses || a - b)
  const wanted = mass * sorted.reduce((sum, [, uses]) => sum + uses, 0)
  let sum = 0
  return sorted.flatMap(([expert, uses]) => {
    if (sum >= wanted) return []
    sum += uses
    return [expert]
  })
}

/** Writes a table beside the file, and in its place once it is whole. */
export function writeHints(file: string, { hints, ...about }: HintTable): void {
  writeDurably(file, `${JSON.stringify({ version, ...about, hints: Object.fromEntries(hints) })}\n`)
}

/**
 * @param grid of the model that they are for
 * @throws FormatError for a file that holds no hints; ConfigError for those of a model of other sizes
 */
export function readHints(file: string, grid: ExpertGrid): HintTable {
  const { hints, version: _, ...about } = parse(file)
  if (about.layers !== grid.layers || about.experts !== grid.experts)
    throw new ConfigError(
      `are for ${about.layers} layers of ${about.experts} experts, and the model has ${grid.layers} of ${grid.experts}: record it, and make them anew`,
      { path: file },
    )
  const entries = Object.entries(hints)
  for (const [id, perLayer] of entries)
    if (perLayer.length !== about.layers || perLayer.flat().some(expert => expert >= about.experts))
      throw new FormatError(`token ${id} names layers or experts that there are not: the file is damaged`, {
        file,
      })
  return { ...about, hints: new Map(entries.map(([id, perLayer]) => [Number(id), perLayer])) }
}

/** Whether a file holds hints, for whatever model. */
export function areHints(file: string): boolean {
  try {
    parse(file)
    return true
  } catch {
    return false
  }
}

function parse(file: string): z.infer<typeof schema> {
  const foreign = `holds no hints; make them with 'switchyard hints'`
  let json: unknown
  try {
    const { size } = statSync(file)
    if (size > maxBytes) throw new FormatError(`has ${size} bytes and ${foreign}`, { file })
    json = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    if (cause instanceof FormatError) throw cause
    const code = (cause as NodeJS.ErrnoException).code
    throw new FormatError(code ? `cannot be opened (${code})` : foreign, { file, cause })
  }
  const { success, data, error } = schema.safeParse(json)
  if (success) return data
  const [issue] = error.issues as [z.core.$ZodIssue]
  throw new FormatError(`${foreign}: ${issue.path.join('.')} ${issueText(issue, json)}`, { file })
}

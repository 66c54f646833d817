// How often experts were used, which outlives the store: counts that fade, and the file that keeps them for the next start.

import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename } from 'node:path'
import { z } from 'zod'
import { writeDurably } from '../../files.ts'
import type { ModelSource } from '../../models/index.ts'
import { issueText } from '../../schema-issue.ts'
import { usualHalving as halving } from '../cache/lfru.ts'
import type { ExpertGrid } from '../cache/policy.ts'
import type { Step } from '../trace/choices.ts'

/** Uses of experts, of which those of long ago count less and less. */
export class ExpertUses {
  readonly #counts: Float64Array // [layers * experts]
  readonly #layers: number
  #lastHalving = 0

  constructor({ layers, experts }: ExpertGrid) {
    this.#layers = layers
    this.#counts = new Float64Array(layers * experts)
  }

  /**
   * Halved once, so that they fade also where every run is short.
   *
   * @param counts `[layers * experts]`, of an earlier one
   */
  add(counts: readonly number[]): void {
    for (const [number, count] of counts.entries()) this.#counts[number]! += count / 2
  }

  note({ now, needed }: Pick<Step, 'now' | 'needed'>): void {
    const period = Math.floor(now / this.#layers / halving)
    for (; this.#lastHalving < period; this.#lastHalving++)
      for (const number of this.#counts.keys()) this.#counts[number]! /= 2
    for (const number of needed) this.#counts[number]! += 1
  }

  /** `[layers * experts]` */
  get counts(): number[] {
    return [...this.#counts]
  }
}

const version = 1

/** More than any model's counts take. */
const maxBytes = 2 ** 26

const schema = z.strictObject({
  version: z.literal(version),
  /** See identityOf(). */
  model: z.string().max(64),
  uses: z.array(z.number().nonnegative().max(1e6)),
})

/** What tells a model's files from others, and from what they were before they were changed. */
export function identityOf({ tensors }: Pick<ModelSource, 'tensors'>): string {
  const files = [...new Set(Array.from(tensors.values(), ({ file }) => file))].sort()
  const facts = files.map(file => {
    const { size, mtimeMs } = statSync(file)
    return [basename(file), size, mtimeMs]
  })
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex')
}

/** Keeps counts for the next start of a model. */
export function writeUses(file: string, model: string, counts: readonly number[]): void {
  const uses = counts.map(count => Math.round(1000 * count) / 1000)
  writeDurably(file, `${JSON.stringify({ version, model, uses })}\n`)
}

/**
 * What was kept, or why it is of no use; neither where nothing was.
 *
 * @param model see identityOf()
 * @param experts of all layers
 */
export function readUses(
  file: string,
  model: string,
  experts: number,
): { uses?: number[]; problem?: string } {
  if (!existsSync(file)) return {}
  let json: unknown
  try {
    if (statSync(file).size > maxBytes) return { problem: 'is too large to hold counts of experts' }
    json = JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return { problem: 'holds no counts of experts' }
  }
  const { success, data, error } = schema.safeParse(json)
  if (!success) {
    const [issue] = error.issues as [z.core.$ZodIssue]
    return { problem: `holds no counts of experts: ${issue.path.join('.')} ${issueText(issue, json)}` }
  }
  if (data.model !== model) return { problem: 'is of files that have changed since' }
  if (data.uses.length !== experts)
    return { problem: `holds counts of ${data.uses.length} experts, not ${experts}` }
  return { uses: data.uses }
}

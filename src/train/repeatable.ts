// What must be as it was for a run that goes on to repeat bit for bit: the library that products are computed by.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { TorchError } from '../errors.ts'
import { chooseGemm, gemmChoice } from '../torch/index.ts'

/** Runs from before choices were recorded were computed by BLAS. */
const recordSchema = z.object({ libtorch: z.object({ gemm: z.string().default('blas') }) })

/**
 * Takes the choice that a run was last trained with (see gemmChoice()), unless SWITCHYARD_GEMM makes another.
 *
 * @param run a run folder
 * @returns a warning where the run is to go on with another choice
 */
export function repeatGemm(run: string): string | null {
  const recorded = recordOf(join(run, 'run.json'))
  if (recorded === undefined || gemmChoice() === recorded) return null
  const reason = process.env.SWITCHYARD_GEMM ? 'by SWITCHYARD_GEMM' : refusalOf(recorded)
  if (reason === null) return null
  return `the run's products were computed by ${recorded}, and are now by ${gemmChoice()} (${reason}): losses will differ in their last digits from those of an uninterrupted run`
}

/** The choice that run.json tells of; undefined where it is damaged, which is no reason not to go on. */
function recordOf(file: string): string | undefined {
  try {
    return recordSchema.parse(JSON.parse(readFileSync(file, 'utf8'))).libtorch.gemm
  } catch {
    return undefined
  }
}

/** Makes a choice; in words why it cannot be. */
function refusalOf(choice: string): string | null {
  try {
    chooseGemm(choice)
    return null
  } catch (error) {
    if (!(error instanceof TorchError)) throw error
    return 'this machine lacks one of those'
  }
}

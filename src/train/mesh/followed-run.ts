// A run as a rank sees it that does not write it: rank 0 has the folder, which all of them read.

import { join } from 'node:path'
import type { Recipe } from '../recipe/schema.ts'
import { type Run, readRecipe } from '../run-folder.ts'
import type { StepLog } from '../run-log.ts'

export class FollowedRun implements Run {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  get recipe(): Recipe {
    return readRecipe(this.path)
  }

  set recipe(_: Recipe) {}

  get checkpoints(): string {
    return join(this.path, 'checkpoints')
  }

  report(): void {}

  remove(): void {}

  close(): void {}
}

/** What rank 0 writes down. */
export const followedLog: StepLog = {
  step() {},
  evaluation() {},
  preferences() {},
  flush() {},
  close() {},
}

// How tokens that chose experts reach them: an object, so that another way is another file.
// Shapes: T tokens, D model.

import type { z } from 'zod'
import type { Dispatch, DispatchContext } from '../contracts.ts'
import type { TokenRouting } from '../routing/token.ts'

/** A kind of dispatch as recipes have it. */
export interface DispatchRow<S extends z.ZodType> {
  schema: S
  make(config: z.infer<S>): Dispatch
}

/** A dispatch that serves part of what was chosen, and leaves the rest to the experts. */
export function servingOnly(
  serve: (chosen: TokenRouting, context: DispatchContext) => TokenRouting,
  { isOverBatch = false }: Pick<Dispatch, 'isOverBatch'> = {},
): Dispatch {
  return {
    isOverBatch,
    mix(x, chosen, experts, context) {
      const served = serve(chosen, context)
      return { y: experts.mix(x, served), served }
    },
  }
}

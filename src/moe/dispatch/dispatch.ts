// How tokens that chose experts reach them: an object, so that another way is another file.
// Shapes: T tokens, D model.

import type { z } from 'zod'
import type { Tensor } from '../../torch/index.ts'
import type { Experts } from '../experts/experts.ts'
import type { Mixed } from '../routing/kind.ts'
import type { TokenRouting } from '../routing/token.ts'
import type { Starts } from '../sequences.ts'

export interface DispatchContext {
  training: boolean
  /** Where sequences begin among the tokens. */
  starts: Starts
}

/** Brings tokens to the experts that they chose and what these give back: x [T, D] -> y [T, D]. */
export interface Dispatch {
  /** The weighted sum of the experts' outputs, and what was served of the choice. */
  mix(x: Tensor, chosen: TokenRouting, experts: Experts, context: DispatchContext): Mixed<TokenRouting>
}

/** A kind of dispatch as recipes have it. */
export interface DispatchRow<S extends z.ZodType> {
  schema: S
  make(config: z.infer<S>): Dispatch
}

/** A dispatch that serves part of what was chosen, and leaves the rest to the experts. */
export function servingOnly(
  serve: (chosen: TokenRouting, context: DispatchContext) => TokenRouting,
): Dispatch {
  return {
    mix(x, chosen, experts, context) {
      const served = serve(chosen, context)
      return { y: experts.mix(x, served), served }
    },
  }
}

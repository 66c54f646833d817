// What becomes of an expert that a token chose and that is not in memory. Whatever is not `read` gives another text, which also
// depends on which experts happened to be there.

import type { GgmlTypeName } from '../../formats/index.ts'

export type OnMiss =
  /** It is read, and waited for. */
  | { kind: 'read' }
  /** In decoding, tokens choose among the experts that are there. */
  | { kind: 'resident' }
  /** A copy of fewer bits is computed with, of which all experts have one in memory. */
  | { kind: 'copy'; type: GgmlTypeName }

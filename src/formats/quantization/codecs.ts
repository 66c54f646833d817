// The codec of each quantized type of GGUF.

import type { GgmlTypeName } from '../gguf/types.ts'
import type { BlockCodec } from './codec.ts'
import { q2_k, q3_k, q4_k, q5_k, q6_k } from './k-quants.ts'
import { mxfp4 } from './mxfp4.ts'
import { iq4_nl, iq4_xs } from './non-linear.ts'
import { q4_0, q4_1, q5_0, q5_1, q8_0 } from './simple.ts'

export const codecs: Partial<Record<GgmlTypeName, BlockCodec>> = {
  Q4_0: q4_0,
  Q4_1: q4_1,
  Q5_0: q5_0,
  Q5_1: q5_1,
  Q8_0: q8_0,
  Q2_K: q2_k,
  Q3_K: q3_k,
  Q4_K: q4_k,
  Q5_K: q5_k,
  Q6_K: q6_k,
  IQ4_NL: iq4_nl,
  IQ4_XS: iq4_xs,
  MXFP4: mxfp4,
}

// The codec of each quantized type of GGUF.

import type { GgmlTypeName } from '../gguf/types.ts'
import type { BlockCodec } from './codec.ts'
import { mxfp4 } from './mxfp4.ts'

export const codecs: Partial<Record<GgmlTypeName, BlockCodec>> = {
  MXFP4: mxfp4,
}

// The codec of each quantized type of GGUF.

import { type BlockCodec, codecOf } from './codec.ts'
import { type GgmlType, type GgmlTypeName, ggmlTypes } from './types.ts'

export const codecs: Partial<Record<GgmlTypeName, BlockCodec>> = Object.fromEntries(
  Object.entries<GgmlType>(ggmlTypes).flatMap(([name, { blockSize, blockBytes, rule }]) =>
    rule ? [[name, codecOf(blockSize, blockBytes, rule)]] : [],
  ),
)

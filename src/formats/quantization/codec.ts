// Blocks of quantized values: a few bytes that stand for so many numbers. Plain TypeScript, the reference of the kernels.

/** What one block means: `at` is its first byte, `first` its first number. */
export interface BlockRule {
  decode(bytes: Uint8Array, at: number, values: Float32Array, first: number): void
  /**
   * Where there is a rule for it.
   *
   * @param importance how much the squared error of each number of the block counts; null: all alike
   */
  encode?(
    values: Float32Array,
    first: number,
    bytes: Uint8Array,
    at: number,
    importance: Float32Array | null,
  ): void
}

/** One way to store numbers in blocks. */
export interface BlockCodec {
  /** Numbers per block. */
  blockSize: number
  blockBytes: number
  /** Decodes as many whole blocks as `values` holds. */
  decode(bytes: Uint8Array, values: Float32Array): void
  /**
   * Encodes whole blocks, where there is a rule for it.
   *
   * @param importance how much the squared error of each column counts, in rows of so many numbers. Default: all alike
   */
  encode?(values: Float32Array, bytes: Uint8Array, importance?: Float32Array): void
}

/** A rule for one block, block after block. */
export function codecOf(blockSize: number, blockBytes: number, rule: BlockRule): BlockCodec {
  const eachBlock = (values: Float32Array, visit: (at: number, first: number) => void): void => {
    for (let block = 0; block * blockSize < values.length; block++)
      visit(block * blockBytes, block * blockSize)
  }
  const { encode } = rule
  return {
    blockSize,
    blockBytes,
    decode: (bytes, values) => eachBlock(values, (at, first) => rule.decode(bytes, at, values, first)),
    ...(encode && {
      encode: (values, bytes, importance) =>
        eachBlock(values, (at, first) => {
          const column = importance ? first % importance.length : 0
          encode(values, first, bytes, at, importance?.subarray(column, column + blockSize) ?? null)
        }),
    }),
  }
}

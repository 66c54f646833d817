// Blocks of quantized values: a few bytes that stand for so many numbers. Plain TypeScript, the reference of the kernels.

/** One way to store numbers in blocks. */
export interface BlockCodec {
  /** Numbers per block. */
  blockSize: number
  blockBytes: number
  /** Decodes as many whole blocks as `values` holds. */
  decode(bytes: Uint8Array, values: Float32Array): void
  /** Encodes whole blocks, where there is a rule for it. */
  encode?(values: Float32Array, bytes: Uint8Array): void
}

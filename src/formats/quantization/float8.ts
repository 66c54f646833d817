// 8-bit floating point, E4M3 without infinities (arXiv:2209.05433): DeepSeek-V3's weights, scaled in blocks.

/** The number that each byte stands for; 0x7f and 0xff are NaN. */
export const float8E4M3: Float32Array = Float32Array.from({ length: 256 }, (_, byte) => {
  const sign = byte & 0x80 ? -1 : 1
  const [exponent, mantissa] = [(byte >> 3) & 15, byte & 7]
  if (exponent === 15 && mantissa === 7) return Number.NaN
  return sign * (exponent === 0 ? (mantissa / 8) * 2 ** -6 : (1 + mantissa / 8) * 2 ** (exponent - 7))
})

// IEEE half precision, the scales of nearly all blocks.

/** The number that two little-endian bytes stand for. */
export function halfAt(bytes: Uint8Array, at: number): number {
  const bits = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8)
  const sign = bits & 0x8000 ? -1 : 1
  const [exponent, mantissa] = [(bits >> 10) & 31, bits & 1023]
  if (exponent === 31) return mantissa === 0 ? sign * Infinity : Number.NaN
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25))
}

/** Writes the nearest half, ties to even; returns the number that it is. Beyond 65,504 it is the largest half. */
export function putHalf(bytes: Uint8Array, at: number, value: number): number {
  const size = Math.min(Math.abs(value), 65_504)
  const exponent = Math.max(Math.floor(Math.log2(size || 2 ** -24)), -14)
  const mantissa = roundToEven(size / 2 ** (exponent - 10)) // 1024..2048, or below for subnormals
  // Carries and subnormals work out by themselves: the exponent's field counts from the implicit bit.
  const bits = (exponent + 14) * 1024 + mantissa
  const field = Math.min(bits, 0x7bff) | (value < 0 ? 0x8000 : 0)
  bytes[at] = field & 255
  bytes[at + 1] = field >> 8
  return halfAt(bytes, at)
}

export function roundToEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1
  return floor % 2 === 0 ? floor : floor + 1
}

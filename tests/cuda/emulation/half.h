// The 16-bit types of CUDA, by their bits; conversions round to nearest, ties to even.
#pragma once

#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
  uint16_t bits;
};

struct __half {
  uint16_t bits;
};

namespace emulation {

inline uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

inline float floatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

}  // namespace emulation

inline float __bfloat162float(__nv_bfloat16 x) { return emulation::floatOf(static_cast<uint32_t>(x.bits) << 16); }

inline __nv_bfloat16 __float2bfloat16_rn(float x) {
  const uint32_t bits = emulation::bitsOf(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};  // NaN
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
}

inline float __half2float(__half x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
  const uint32_t exponent = x.bits >> 10 & 0x1f, fraction = x.bits & 0x3ffu;
  if (exponent == 31) return emulation::floatOf(sign | 0x7f800000u | fraction << 13);
  if (exponent != 0) return emulation::floatOf(sign | (exponent + 112) << 23 | fraction << 13);
  const float small = static_cast<float>(fraction) * 0x1p-24f;  // subnormal
  return sign != 0 ? -small : small;
}

inline __half __float2half_rn(float x) {
  const uint32_t bits = emulation::bitsOf(x), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
  const auto signedHalf = [sign](uint32_t half) { return __half{static_cast<uint16_t>(sign | half)}; };
  if (size > 0x7f800000u) return {0x7fff};                         // NaN
  if (size >= 0x477ff000u) return signedHalf(0x7c00);              // 65520 and more round to infinity
  if (size >= 0x38800000u) return signedHalf((size + 0xfffu + (size >> 13 & 1) - 0x38000000u) >> 13);
  // Subnormal: the sum's last place is 2^-24, so that the addition itself rounds.
  return signedHalf(emulation::bitsOf(emulation::floatOf(size) + 0.5f) - 0x3f000000u);
}

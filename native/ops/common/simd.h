// Loops that the compiler turns into vector instructions, for the processor at hand.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

// A function marked so is compiled three times, and the loader picks by processor: AVX-512, AVX2 with FMA, or what
// every x86-64 has.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SWITCHYARD_VECTORIZED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SWITCHYARD_VECTORIZED
#endif

// What such a function calls must become part of it, or it is compiled for the least processor only.
#define SWITCHYARD_INLINE inline __attribute__((always_inline))

namespace switchyard {

/**
 * e^x within 1e-7 relative: 2^n times a polynomial on +-ln(2)/2 (coefficients of Cephes' expf), branch-free so that it
 * vectorizes. Below -87 it is e^-87.
 */
SWITCHYARD_INLINE float fastExp(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float n = __builtin_nearbyintf(x * 1.44269504f);
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23;  // unsigned: x may be NaN
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

SWITCHYARD_INLINE double fastExp(double x) { return std::exp(x); }

}  // namespace switchyard

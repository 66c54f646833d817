// Rounding to bf16 that is right on average: small updates of a weight that has 8 bits add up instead of vanishing.
// Plain code, for the CPU and for CUDA.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define SWITCHYARD_ANYWHERE __host__ __device__ inline
#else
#define SWITCHYARD_ANYWHERE inline
#endif

namespace switchyard {

/** 32 pseudo-random bits for one element of one tensor in one step: a hash (splitmix64), so that no state is kept. */
SWITCHYARD_ANYWHERE uint32_t elementBits(uint32_t step, uint32_t tensor, uint64_t element) {
  uint64_t z = element + 0x9e3779b97f4a7c15ull * ((static_cast<uint64_t>(step) << 32 | tensor) + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return static_cast<uint32_t>((z ^ (z >> 31)) >> 32);
}

/** The bits of one of the two bf16 next to `value`, the nearer the likelier; of the low 16 bits of `random`. */
SWITCHYARD_ANYWHERE uint16_t stochasticBfloat16(float value, uint32_t random) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  if (finite) return static_cast<uint16_t>((bits + (random & 0xffffu)) >> 16);
  return static_cast<uint16_t>((bits >> 16) | ((bits & 0x7fffffu) != 0 ? 0x40u : 0u));  // a NaN stays one
}

}  // namespace switchyard

#include "elementwise.h"

#include "simd.h"

namespace switchyard {
namespace {

template <typename T>
SWITCHYARD_INLINE void addScaledLoop(const T* __restrict from, T factor, T* __restrict to, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i] += factor * from[i];
}

/** On the bits: a bf16 number is the upper half of an f32 one. */
SWITCHYARD_INLINE uint16_t rounded(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const uint32_t nearest = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40;  // a NaN's payload must not be rounded away
  return static_cast<uint16_t>(value != value ? quiet : nearest);
}

SWITCHYARD_VECTORIZED
void narrowBits(const float* __restrict from, uint16_t* __restrict to, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i] = rounded(from[i]);
}

SWITCHYARD_VECTORIZED
void widenBits(const uint16_t* __restrict from, float* __restrict to, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const uint32_t bits = static_cast<uint32_t>(from[i]) << 16;
    std::memcpy(to + i, &bits, sizeof bits);
  }
}

SWITCHYARD_VECTORIZED
void widenHalves(const uint16_t* __restrict from, float* __restrict to, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i] = c10::detail::fp16_ieee_to_fp32_value(from[i]);
}

}  // namespace

SWITCHYARD_VECTORIZED
void addScaled(const float* from, float factor, float* to, int64_t count) { addScaledLoop(from, factor, to, count); }

void addScaled(const double* from, double factor, double* to, int64_t count) {
  addScaledLoop(from, factor, to, count);
}

void narrowRow(const float* from, c10::BFloat16* to, int64_t count) {
  narrowBits(from, reinterpret_cast<uint16_t*>(to), count);
}

SWITCHYARD_VECTORIZED
void narrowRow(const float* from, c10::Half* to, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i].x = c10::detail::fp16_ieee_from_fp32_value(from[i]);
}

void widenRow(const c10::BFloat16* from, float* to, int64_t count) {
  widenBits(reinterpret_cast<const uint16_t*>(from), to, count);
}

void widenRow(const c10::Half* from, float* to, int64_t count) {
  widenHalves(reinterpret_cast<const uint16_t*>(from), to, count);
}

}  // namespace switchyard

#include "elementwise.h"

#include "simd.h"

namespace switchyard {
namespace {

template <typename T>
SWITCHYARD_INLINE void addScaledLoop(const T* __restrict from, T factor, T* __restrict to, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i] += factor * from[i];
}

}  // namespace

SWITCHYARD_VECTORIZED
void addScaled(const float* from, float factor, float* to, int64_t count) { addScaledLoop(from, factor, to, count); }

void addScaled(const double* from, double factor, double* to, int64_t count) {
  addScaledLoop(from, factor, to, count);
}

}  // namespace switchyard

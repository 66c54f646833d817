// Small loops over contiguous rows that kernels share.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace switchyard {

/** What sums and other arithmetic on elements of T are done in: `A` in kernels. */
template <typename T>
using WideOf = std::conditional_t<std::is_same_v<T, c10::BFloat16>, float, T>;

/** `to += factor * from`. */
void addScaled(const float* from, float factor, float* to, int64_t count);
void addScaled(const double* from, double factor, double* to, int64_t count);

/** Rounds to nearest, ties to even; NaN stays NaN. */
void narrowRow(const float* from, c10::BFloat16* to, int64_t count);
void narrowRow(const float* from, c10::Half* to, int64_t count);

void widenRow(const c10::BFloat16* from, float* to, int64_t count);
void widenRow(const c10::Half* from, float* to, int64_t count);

/** Where nothing is to be narrowed or widened: a copy, if it is not there already. */
template <typename T>
void narrowRow(const T* from, T* to, int64_t count) {
  if (from != to) std::memcpy(to, from, count * sizeof(T));
}

}  // namespace switchyard

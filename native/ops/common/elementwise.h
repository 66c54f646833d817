// Small loops over contiguous rows that kernels share.
#pragma once

#include <cstdint>

namespace switchyard {

/** `to += factor * from`. */
void addScaled(const float* from, float factor, float* to, int64_t count);
void addScaled(const double* from, double factor, double* to, int64_t count);

}  // namespace switchyard

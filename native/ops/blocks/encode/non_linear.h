// IQ4, as non-linear.ts writes it.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../levels.h"
#include "fit.h"

namespace switchyard::encode {

/** The code of the nearest level of IQ4; of two the lower. Comparisons alone, which are vectors across lanes. */
SWITCHYARD_INLINE int codeIQ4(double value) {
  int code = 0;
  for (int i = 0; i < 15; i++) code += value > (double(nonLinear[i]) + double(nonLinear[i + 1])) / 2;
  return code;
}

/** The nearest level of IQ4: as codeIQ4(), summed over what is between levels. */
struct NearestIQ4 {
  SWITCHYARD_INLINE double operator()(double value) const {
    double nearest = nonLinear[0];
    for (int i = 0; i < 15; i++) {
      const double low = nonLinear[i], high = nonLinear[i + 1];
      nearest += value > (low + high) / 2 ? high - low : 0;
    }
    return nearest;
  }
};

/** fitStep() of non-linear.ts. */
template <class Weights>
SWITCHYARD_INLINE double stepIQ4(const float* x, Weights w) {
  double ends[kLanes];
  for (int c = 0; c < kLanes; c++) ends[c] = (c < 12 ? -127 : 113) + 3 * (c % 12) - 16.5;
  return fitScaleTo(x, w, 32, NearestIQ4{}, -127, ends, kLanes);
}

SWITCHYARD_INLINE void putIQ4(const float* x, double step, uint8_t* bytes) {
  const auto code = [&](float value) { return codeIQ4(step == 0 ? 0 : value / step); };
  for (int i = 0; i < 16; i++) bytes[i] = static_cast<uint8_t>(code(x[i]) | (code(x[16 + i]) << 4));
}

template <class Weights>
SWITCHYARD_INLINE void encodeIQ4_NL(const float* x, Weights w, uint8_t* block) {
  putIQ4(x, putHalf(block, stepIQ4(x, w)), block + 2);
}

template <class Weights>
SWITCHYARD_INLINE void encodeIQ4_XS(const float* x, Weights w, uint8_t* block) {
  std::array<double, 8> steps;
  double largest = 0;
  for (int j = 0; j < 8; j++) {
    steps[j] = stepIQ4(x + j * 32, w + j * 32);
    largest = std::max(largest, std::abs(steps[j]));
  }
  const double d = putHalf(block, largest / 31);
  std::memset(block + 2, 0, 6);
  for (int j = 0; j < 8; j++) {
    const double units = d == 0 ? 0 : level(steps[j] / d, -31, 31);
    const int scale = static_cast<int>(units) + 32;
    block[2 + (j >> 2)] |= static_cast<uint8_t>((scale >> 4) << (2 * (j & 3)));
    block[4 + (j >> 1)] |= static_cast<uint8_t>((scale & 15) << (4 * (j & 1)));
    putIQ4(x + j * 32, d * units, block + 8 + j * 16);
  }
}

}  // namespace switchyard::encode

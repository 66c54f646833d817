// Blocks of 32 numbers with one scale, as simple.ts writes them.
#pragma once

#include <cmath>
#include <cstdint>

#include "fit.h"

namespace switchyard::encode {

/** The step of a block of 32 without importance is given; with it, fitted. */
SWITCHYARD_INLINE double stepOf(const float*, Even, double plain, double, double) { return plain; }
SWITCHYARD_INLINE double stepOf(const float* x, Importance w, double, double low, double high) {
  return fitScale(x, w, 32, low, high);
}

template <class Weights>
SWITCHYARD_INLINE void encodeQ8_0(const float* x, Weights w, uint8_t* block) {
  const double d = putHalf(block, stepOf(x, w, std::abs(extremeOf(x, 32)) / 127, -127, 127));
  for (int i = 0; i < 32; i++)
    block[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(d == 0 ? 0 : level(x[i] / d, -127, 127)));
}

template <class Weights>
SWITCHYARD_INLINE void encodeQ4_0(const float* x, Weights w, uint8_t* block) {
  const double d = putHalf(block, stepOf(x, w, extremeOf(x, 32) / -8, -8, 7));
  const auto code = [&](float value) { return static_cast<int>(d == 0 ? 8 : level(value / d, -8, 7) + 8); };
  for (int i = 0; i < 16; i++) block[2 + i] = static_cast<uint8_t>(code(x[i]) | (code(x[16 + i]) << 4));
}

}  // namespace switchyard::encode

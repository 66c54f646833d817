// MXFP4, as mxfp4.ts writes it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "fit.h"

namespace switchyard::encode {

/** E2M1 without sign, twice over. */
constexpr double doubledSizes[] = {0, 1, 2, 3, 4, 6, 8, 12};

SWITCHYARD_INLINE int codeMXFP4(double value) {
  const double size = std::abs(value);
  int best = 0;
  for (int i = 1; i < 8; i++)
    if (std::abs(doubledSizes[i] - size) < std::abs(doubledSizes[best] - size)) best = i;
  return value < 0 && best > 0 ? best + 8 : best;
}

SWITCHYARD_INLINE int exponentMXFP4(const float*, Even, int plain) { return plain; }

/** Of the plain exponent and its neighbours, the one whose levels are nearest. */
SWITCHYARD_INLINE int exponentMXFP4(const float* x, Importance w, int plain) {
  int best = plain;
  double least = std::numeric_limits<double>::infinity();
  for (const int e : {plain, std::max(plain - 1, 0), std::min(plain + 1, 254)}) {
    const double scale = std::ldexp(1.0, e - 128);
    double error = 0;
    for (int i = 0; i < 32; i++) {
      const double off = std::abs(x[i]) - scale * doubledSizes[codeMXFP4(x[i] / scale) & 7];
      error += w[i] * (off * off);
    }
    if (error < least) {
      best = e;
      least = error;
    }
  }
  return best;
}

template <class Weights>
SWITCHYARD_INLINE void encodeMXFP4(const float* x, Weights w, uint8_t* block) {
  const double largest = std::abs(extremeOf(x, 32));
  const int plain = largest == 0 ? 0 : std::min(std::max(std::ilogb(largest) - 2 + 127, 0), 254);
  const int e = exponentMXFP4(x, w, plain);
  const double scale = std::ldexp(1.0, e - 128);
  block[0] = static_cast<uint8_t>(e);
  for (int i = 0; i < 16; i++)
    block[1 + i] = static_cast<uint8_t>(codeMXFP4(x[i] / scale) | (codeMXFP4(x[16 + i] / scale) << 4));
}

}  // namespace switchyard::encode

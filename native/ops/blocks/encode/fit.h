// Steps that fit a handful of numbers best, as fit.ts has them; and a half that is put, as half.ts.
#pragma once

#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "../../common/simd.h"

namespace switchyard::encode {

/** As JavaScript rounds: halves go up. */
SWITCHYARD_INLINE double roundUp(double value) { return std::floor(value + 0.5); }

SWITCHYARD_INLINE double level(double value, double low, double high) { return std::min(std::max(roundUp(value), low), high); }

/** Writes the nearest half, ties to even, at most the largest; returns the number that it is. */
SWITCHYARD_INLINE double putHalf(uint8_t* bytes, double value) {
  const double size = std::min(std::abs(value), 65504.0);
  int exponent = -14;
  if (size > 0) exponent = std::max(std::ilogb(size), -14);
  const double mantissa = std::nearbyint(std::ldexp(size, 10 - exponent));
  const int bits = (exponent + 14) * 1024 + static_cast<int>(mantissa);
  const uint16_t field = static_cast<uint16_t>(std::min(bits, 0x7bff) | (value < 0 ? 0x8000 : 0));
  std::memcpy(bytes, &field, sizeof field);
  return c10::detail::fp16_ieee_to_fp32_value(field);
}

/** The number of largest size, with its sign. */
SWITCHYARD_INLINE double extremeOf(const float* x, int count) {
  double extreme = 0;
  for (int i = 0; i < count; i++)
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  return extreme;
}

/** How much the error of each number of a block counts: all alike, or by what is given. */
struct Even {
  double operator[](int) const { return 1; }
  Even operator+(int) const { return {}; }
};
struct Importance {
  const float* of;
  double operator[](int i) const { return of[i]; }
  Importance operator+(int count) const { return {of + count}; }
};

struct ScaleAndMin {
  double scale;
  double min;
};

/** Candidates that are tried at once, in the lanes of vectors; each sums in the order of the numbers, as if it were alone. */
constexpr int kLanes = 24;

template <class Weights>
SWITCHYARD_INLINE void errorsOf(const float* x, Weights w, int count, const ScaleAndMin* fits, double most, double* errors) {
  double scales[kLanes], divisors[kLanes], mins[kLanes];
  for (int c = 0; c < kLanes; c++) {
    scales[c] = fits[c].scale;
    divisors[c] = fits[c].scale == 0 ? std::numeric_limits<double>::infinity() : fits[c].scale;  // then the level is 0
    mins[c] = fits[c].min;
    errors[c] = 0;
  }
  for (int i = 0; i < count; i++) {
    const double value = x[i], weight = w[i];
    for (int c = 0; c < kLanes; c++) {
      const double q = level((value + mins[c]) / divisors[c], 0, most);
      const double off = value - (scales[c] * q - mins[c]);
      errors[c] += weight * (off * off);
    }
  }
}

/** Least squares of scale and minimum, given the levels that each inverse step assigns. */
template <class Weights>
SWITCHYARD_INLINE void regress(const float* x, Weights w, int count, double lowest, const double* inverses, double most,
                               ScaleAndMin* fits) {
  double n = 0, x1 = 0;
  double q1[kLanes] = {}, q2[kLanes] = {}, xq[kLanes] = {};
  for (int i = 0; i < count; i++) {
    const double value = x[i], weight = w[i], weighted = weight * value;
    n += weight;
    x1 += weighted;
    for (int c = 0; c < kLanes; c++) {
      const double q = level((value - lowest) * inverses[c], 0, most);
      q1[c] += weight * q;
      q2[c] += weight * q * q;
      xq[c] += weighted * q;
    }
  }
  for (int c = 0; c < kLanes; c++) {
    const double spread = n * q2[c] - q1[c] * q1[c];
    const double scale = (n * xq[c] - q1[c] * x1) / spread;
    const double min = -(x1 - scale * q1[c]) / n;
    if (spread <= 0)
      fits[c] = {1 / inverses[c], -lowest};
    else if (min >= 0 || q2[c] == 0)
      fits[c] = {scale, std::max(0.0, min)};
    else
      fits[c] = {xq[c] / q2[c], 0};
  }
}

/** fitScaleAndMin() of fit.ts. */
template <class Weights>
SWITCHYARD_INLINE ScaleAndMin fitScaleAndMin(const float* x, Weights w, int count, double most) {
  double lowest = 0;
  for (int i = 0; i < count; i++) lowest = std::min<double>(lowest, x[i]);
  double highest = lowest;
  for (int i = 0; i < count; i++) highest = std::max<double>(highest, x[i]);
  if (highest == lowest) return {0, -lowest};
  constexpr int kReach = 10;
  double inverses[kLanes], errors[kLanes];
  ScaleAndMin fits[kLanes];
  for (int c = 0; c < kLanes; c++)
    inverses[c] = (most + 0.1 * (std::min(c, 2 * kReach) - kReach)) / (highest - lowest);
  regress(x, w, count, lowest, inverses, most, fits);
  errorsOf(x, w, count, fits, most, errors);
  ScaleAndMin best{(highest - lowest) / most, -lowest};
  double least = std::numeric_limits<double>::infinity();
  for (int c = 0; c <= 2 * kReach; c++) {
    if (!(fits[c].scale >= 0) || !(errors[c] < least)) continue;
    best = fits[c];
    least = errors[c];
  }
  return best;
}

/** The whole numbers in a range. */
struct Range {
  double low, high;
  SWITCHYARD_INLINE double operator()(double value) const { return level(value, low, high); }
};

/** fitScaleTo() of fit.ts, with so many ends. */
template <class Weights, class Nearest>
SWITCHYARD_INLINE double fitScaleTo(const float* x, Weights w, int count, Nearest nearest, double plain,
                                    const double (&ends)[kLanes], int used) {
  const double extreme = extremeOf(x, count);
  if (extreme == 0) return 0;
  double inverses[kLanes], scales[kLanes], xq[kLanes] = {}, qq[kLanes] = {}, errors[kLanes] = {};
  for (int c = 0; c < kLanes; c++) inverses[c] = ends[c] / extreme;
  for (int i = 0; i < count; i++) {
    const double value = x[i], weight = w[i], weighted = weight * value;
    for (int c = 0; c < kLanes; c++) {
      const double q = nearest(value * inverses[c]);
      xq[c] += weighted * q;
      qq[c] += weight * q * q;
    }
  }
  for (int c = 0; c < kLanes; c++) scales[c] = xq[c] / qq[c];
  for (int i = 0; i < count; i++) {
    const double value = x[i], weight = w[i];
    for (int c = 0; c < kLanes; c++) {
      const double off = value - scales[c] * nearest(value / scales[c]);
      errors[c] += weight * (off * off);
    }
  }
  double best = extreme / plain, least = std::numeric_limits<double>::infinity();
  for (int c = 0; c < used; c++) {
    if (qq[c] == 0 || xq[c] == 0 || !(errors[c] < least)) continue;
    best = scales[c];
    least = errors[c];
  }
  return best;
}

/** fitScale() of fit.ts. */
template <class Weights>
SWITCHYARD_INLINE double fitScale(const float* x, Weights w, int count, double low, double high) {
  constexpr int kReach = 9;
  double ends[kLanes];
  for (int c = 0; c < kLanes; c++) ends[c] = low - 0.1 * (std::min(c, 2 * kReach) - kReach);
  return fitScaleTo(x, w, count, Range{low, high}, low, ends, 2 * kReach + 1);
}

}  // namespace switchyard::encode

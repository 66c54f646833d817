// Super-blocks of 256 numbers, as k-quants.ts writes them.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "fit.h"

namespace switchyard::encode {

/** fitParts() of k-quants.ts: PARTS scales and minima in units of d and dmin, and the level of each of 256 numbers. */
template <int PARTS>
struct Parts {
  std::array<int, PARTS> scales, mins;
  std::array<uint8_t, 256> levels;

  template <class Weights>
  SWITCHYARD_INLINE void fit(const float* x, Weights w, double most, double units, uint8_t* halves) {
    constexpr int size = 256 / PARTS;
    std::array<ScaleAndMin, PARTS> fits;
    double largestScale = -std::numeric_limits<double>::infinity(), largestMin = largestScale;
    for (int j = 0; j < PARTS; j++) {
      fits[j] = fitScaleAndMin(x + j * size, w + j * size, size, most);
      largestScale = std::max(largestScale, fits[j].scale);
      largestMin = std::max(largestMin, fits[j].min);
    }
    const double d = putHalf(halves, largestScale / units), dmin = putHalf(halves + 2, largestMin / units);
    for (int j = 0; j < PARTS; j++) {
      scales[j] = static_cast<int>(d == 0 ? 0 : level(fits[j].scale / d, 0, units));
      mins[j] = static_cast<int>(dmin == 0 ? 0 : level(fits[j].min / dmin, 0, units));
      const double step = d * scales[j], min = dmin * mins[j];
      for (int i = j * size; i < (j + 1) * size; i++)
        levels[i] = static_cast<uint8_t>(step == 0 ? 0 : level((x[i] + min) / step, 0, most));
    }
  }
};

/** packScales() of k-quants.ts. */
SWITCHYARD_INLINE void packScales(const Parts<8>& parts, uint8_t* bytes) {
  const auto& [scales, mins, levels] = parts;
  for (int j = 0; j < 4; j++) {
    bytes[j] = static_cast<uint8_t>(scales[j] | ((scales[j + 4] >> 4) << 6));
    bytes[4 + j] = static_cast<uint8_t>(mins[j] | ((mins[j + 4] >> 4) << 6));
    bytes[8 + j] = static_cast<uint8_t>((scales[j + 4] & 15) | ((mins[j + 4] & 15) << 4));
  }
}

template <class Weights>
SWITCHYARD_INLINE void encodeQ4_K(const float* x, Weights w, uint8_t* block) {
  Parts<8> parts;
  parts.fit(x, w, 15, 63, block);
  packScales(parts, block + 4);
  std::memset(block + 16, 0, 128);
  for (int n = 0; n < 256; n++)
    block[16 + (n >> 6) * 32 + (n & 31)] |= static_cast<uint8_t>(parts.levels[n] << (((n >> 5) & 1) * 4));
}

template <class Weights>
SWITCHYARD_INLINE void encodeQ5_K(const float* x, Weights w, uint8_t* block) {
  Parts<8> parts;
  parts.fit(x, w, 31, 63, block);
  packScales(parts, block + 4);
  std::memset(block + 16, 0, 160);
  for (int n = 0; n < 256; n++) {
    block[48 + (n >> 6) * 32 + (n & 31)] |= static_cast<uint8_t>((parts.levels[n] & 15) << (((n >> 5) & 1) * 4));
    block[16 + (n & 31)] |= static_cast<uint8_t>((parts.levels[n] >> 4) << (n >> 5));
  }
}

template <class Weights>
SWITCHYARD_INLINE void encodeQ2_K(const float* x, Weights w, uint8_t* block) {
  Parts<16> parts;
  parts.fit(x, w, 3, 15, block + 80);
  for (int j = 0; j < 16; j++) block[j] = static_cast<uint8_t>(parts.scales[j] | (parts.mins[j] << 4));
  std::memset(block + 16, 0, 64);
  for (int n = 0; n < 256; n++)
    block[16 + (n >> 7) * 32 + (n & 31)] |= static_cast<uint8_t>(parts.levels[n] << (((n >> 5) & 3) * 2));
}

/** fitSignedParts() of k-quants.ts: 16 scales in units of d, and the level of each of 256 numbers above the lowest. */
struct SignedParts {
  std::array<int, 16> scales;
  std::array<uint8_t, 256> levels;

  template <class Weights>
  SWITCHYARD_INLINE void fit(const float* x, Weights w, double low, double high, double units, uint8_t* half) {
    std::array<double, 16> fits;
    double largest = -std::numeric_limits<double>::infinity();
    for (int j = 0; j < 16; j++) {
      fits[j] = fitScale(x + j * 16, w + j * 16, 16, low, high);
      largest = std::max(largest, std::abs(fits[j]));
    }
    const double d = putHalf(half, largest / units);
    for (int j = 0; j < 16; j++) {
      scales[j] = static_cast<int>(d == 0 ? 0 : level(fits[j] / d, -units, units));
      const double step = d * scales[j];
      for (int i = j * 16; i < (j + 1) * 16; i++)
        levels[i] = static_cast<uint8_t>((step == 0 ? 0 : level(x[i] / step, low, high)) - low);
    }
  }
};

template <class Weights>
SWITCHYARD_INLINE void encodeQ6_K(const float* x, Weights w, uint8_t* block) {
  SignedParts parts;
  parts.fit(x, w, -32, 31, 127, block + 208);
  for (int j = 0; j < 16; j++) block[192 + j] = static_cast<uint8_t>(static_cast<int8_t>(parts.scales[j]));
  std::memset(block, 0, 192);
  for (int n = 0; n < 256; n++) {
    const int section = n >> 7, row = (n >> 5) & 3, l = n & 31, q = parts.levels[n];
    block[section * 64 + (row & 1) * 32 + l] |= static_cast<uint8_t>((q & 15) << (row < 2 ? 0 : 4));
    block[128 + section * 32 + l] |= static_cast<uint8_t>((q >> 4) << (row * 2));
  }
}

template <class Weights>
SWITCHYARD_INLINE void encodeQ3_K(const float* x, Weights w, uint8_t* block) {
  SignedParts parts;
  parts.fit(x, w, -4, 3, 31, block + 108);
  std::memset(block, 0, 108);
  for (int j = 0; j < 16; j++) {
    const int scale = parts.scales[j] + 32;
    block[96 + (j & 7)] |= static_cast<uint8_t>((scale & 15) << (j < 8 ? 0 : 4));
    block[104 + (j & 3)] |= static_cast<uint8_t>((scale >> 4) << ((j >> 2) * 2));
  }
  for (int n = 0; n < 256; n++) {
    block[n & 31] |= static_cast<uint8_t>((parts.levels[n] >> 2) << (n >> 5));
    block[32 + (n >> 7) * 32 + (n & 31)] |= static_cast<uint8_t>((parts.levels[n] & 3) << (((n >> 5) & 3) * 2));
  }
}

}  // namespace switchyard::encode

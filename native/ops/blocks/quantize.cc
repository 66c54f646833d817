// f32 to blocks. Compiled without contraction: in f64, step for step as the twins in src/formats/quantization, so that
// both give the same bytes.
#include <ATen/ops/empty.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "../common/parallel.h"
#include "../common/simd.h"
#include "dequantize.h"
#include "levels.h"
#include "types.h"

namespace switchyard {
namespace {

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

}  // namespace

// A function of its own for each type, so that each is compiled for every processor.
#define SWITCHYARD_ENCODER(TYPE, VALUES, BYTES)                                                                        \
  SWITCHYARD_VECTORIZED                                                                                                \
  void encode##TYPE##Blocks(const float* values, const RowImportance& importance, uint8_t* blocks, BlockRange range) { \
    if (importance.values == nullptr) {                                                                                \
      for (int64_t i = range.begin; i < range.end; i++)                                                                \
        encode##TYPE(values + i * (VALUES), Even{}, blocks + i * (BYTES));                                             \
      return;                                                                                                          \
    }                                                                                                                  \
    for (int64_t i = range.begin; i < range.end; i++) {                                                                \
      const Importance weights{importance.values + i * (VALUES) % importance.columns};                                 \
      encode##TYPE(values + i * (VALUES), weights, blocks + i * (BYTES));                                              \
    }                                                                                                                  \
  }
SWITCHYARD_BLOCK_TYPES(SWITCHYARD_ENCODER, SWITCHYARD_NO_BLOCKS)

at::Tensor quantize(const at::Tensor& values, const std::string& type, const c10::optional<at::Tensor>& importance) {
  TORCH_CHECK(values.is_cpu() && values.scalar_type() == at::kFloat && values.is_contiguous(),
              "values must be contiguous f32 on the cpu");
  const BlockType& blocks = blockTypeOf(type);
  TORCH_CHECK(blocks.encode != nullptr, "there is no rule to write blocks of type '", type, "'");
  TORCH_CHECK(values.numel() % blocks.values == 0, values.numel(), " values are no whole blocks of ", blocks.values);
  RowImportance row{nullptr, 0};
  if (importance.has_value()) {
    TORCH_CHECK(importance->is_cpu() && importance->scalar_type() == at::kFloat && importance->is_contiguous(),
                "importance must be contiguous f32 on the cpu");
    row = {importance->data_ptr<float>(), importance->numel()};
    TORCH_CHECK(row.columns > 0 && row.columns % blocks.values == 0 && values.numel() % row.columns == 0,
                "importance of ", row.columns, " columns is not that of rows of whole blocks");
  }
  const int64_t count = values.numel() / blocks.values;
  at::Tensor bytes = at::empty({count * blocks.bytes}, values.options().dtype(at::kByte));
  const float* from = values.data_ptr<float>();
  uint8_t* to = bytes.data_ptr<uint8_t>();
  parallelRange(count, 4096 / blocks.values,
                [&](int64_t begin, int64_t end) { blocks.encode(from, row, to, {begin, end}); });
  return bytes;
}

}  // namespace switchyard

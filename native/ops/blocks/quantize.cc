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

SWITCHYARD_INLINE void encodeQ8_0(const float* x, uint8_t* block) {
  const double d = putHalf(block, std::abs(extremeOf(x, 32)) / 127);
  for (int i = 0; i < 32; i++)
    block[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(d == 0 ? 0 : level(x[i] / d, -127, 127)));
}

SWITCHYARD_INLINE void encodeQ4_0(const float* x, uint8_t* block) {
  const double d = putHalf(block, extremeOf(x, 32) / -8);
  const auto code = [&](float value) { return static_cast<int>(d == 0 ? 8 : level(value / d, -8, 7) + 8); };
  for (int i = 0; i < 16; i++) block[2 + i] = static_cast<uint8_t>(code(x[i]) | (code(x[16 + i]) << 4));
}

struct ScaleAndMin {
  double scale;
  double min;
};

SWITCHYARD_INLINE double errorOf(const float* x, int count, const ScaleAndMin& fit, double most) {
  double error = 0;
  for (int i = 0; i < count; i++) {
    const double q = level(fit.scale == 0 ? 0 : (x[i] + fit.min) / fit.scale, 0, most);
    const double off = x[i] - (fit.scale * q - fit.min);
    error += off * off;
  }
  return error;
}

SWITCHYARD_INLINE ScaleAndMin regress(const float* x, int count, double lowest, double inverse, double most) {
  double q1 = 0, q2 = 0, x1 = 0, xq = 0;
  for (int i = 0; i < count; i++) {
    const double q = level((x[i] - lowest) * inverse, 0, most);
    q1 += q;
    q2 += q * q;
    x1 += x[i];
    xq += x[i] * q;
  }
  const double spread = count * q2 - q1 * q1;
  if (spread <= 0) return {1 / inverse, -lowest};
  const double scale = (count * xq - q1 * x1) / spread;
  const double min = -(x1 - scale * q1) / count;
  if (min >= 0 || q2 == 0) return {scale, std::max(0.0, min)};
  return {xq / q2, 0};
}

/** fitScaleAndMin() of fit.ts. */
SWITCHYARD_INLINE ScaleAndMin fitScaleAndMin(const float* x, int count, double most) {
  double lowest = 0;
  for (int i = 0; i < count; i++) lowest = std::min<double>(lowest, x[i]);
  double highest = lowest;
  for (int i = 0; i < count; i++) highest = std::max<double>(highest, x[i]);
  if (highest == lowest) return {0, -lowest};
  ScaleAndMin best{(highest - lowest) / most, -lowest};
  double least = std::numeric_limits<double>::infinity();
  for (int reach = -10; reach <= 10; reach++) {
    const ScaleAndMin fit = regress(x, count, lowest, (most + 0.1 * reach) / (highest - lowest), most);
    const double error = errorOf(x, count, fit, most);
    if (error < least) {
      best = fit;
      least = error;
    }
  }
  return best;
}

/** fitScale() of fit.ts. */
SWITCHYARD_INLINE double fitScale(const float* x, int count, double low, double high) {
  const double extreme = extremeOf(x, count);
  if (extreme == 0) return 0;
  double best = extreme / low, least = std::numeric_limits<double>::infinity();
  for (int reach = -9; reach <= 9; reach++) {
    const double inverse = (low - 0.1 * reach) / extreme;
    double xq = 0, qq = 0;
    for (int i = 0; i < count; i++) {
      const double q = level(x[i] * inverse, low, high);
      xq += x[i] * q;
      qq += q * q;
    }
    if (qq == 0) continue;
    const double scale = xq / qq;
    double error = 0;
    for (int i = 0; i < count; i++) {
      const double off = x[i] - scale * level(x[i] / scale, low, high);
      error += off * off;
    }
    if (error < least) {
      best = scale;
      least = error;
    }
  }
  return best;
}

SWITCHYARD_INLINE void encodeQ4_K(const float* x, uint8_t* block) {
  std::array<ScaleAndMin, 8> fits;
  double largestScale = -std::numeric_limits<double>::infinity(), largestMin = largestScale;
  for (int j = 0; j < 8; j++) {
    fits[j] = fitScaleAndMin(x + j * 32, 32, 15);
    largestScale = std::max(largestScale, fits[j].scale);
    largestMin = std::max(largestMin, fits[j].min);
  }
  const double d = putHalf(block, largestScale / 63), dmin = putHalf(block + 2, largestMin / 63);
  std::array<int, 8> scales, mins;
  for (int j = 0; j < 8; j++) {
    scales[j] = static_cast<int>(d == 0 ? 0 : level(fits[j].scale / d, 0, 63));
    mins[j] = static_cast<int>(dmin == 0 ? 0 : level(fits[j].min / dmin, 0, 63));
  }
  for (int j = 0; j < 4; j++) {
    block[4 + j] = static_cast<uint8_t>(scales[j] | ((scales[j + 4] >> 4) << 6));
    block[8 + j] = static_cast<uint8_t>(mins[j] | ((mins[j + 4] >> 4) << 6));
    block[12 + j] = static_cast<uint8_t>((scales[j + 4] & 15) | ((mins[j + 4] & 15) << 4));
  }
  std::memset(block + 16, 0, 128);
  for (int j = 0; j < 8; j++) {
    const double step = d * scales[j], min = dmin * mins[j];
    for (int i = 0; i < 32; i++) {
      const int q = static_cast<int>(step == 0 ? 0 : level((x[j * 32 + i] + min) / step, 0, 15));
      block[16 + (j >> 1) * 32 + i] |= static_cast<uint8_t>(q << ((j & 1) * 4));
    }
  }
}

SWITCHYARD_INLINE void encodeQ6_K(const float* x, uint8_t* block) {
  std::array<double, 16> fits;
  double largest = -std::numeric_limits<double>::infinity();
  for (int j = 0; j < 16; j++) {
    fits[j] = fitScale(x + j * 16, 16, -32, 31);
    largest = std::max(largest, std::abs(fits[j]));
  }
  const double d = putHalf(block + 208, largest / 127);
  std::memset(block, 0, 192);
  for (int j = 0; j < 16; j++) {
    const double scale = d == 0 ? 0 : level(fits[j] / d, -127, 127);
    block[192 + j] = static_cast<uint8_t>(static_cast<int8_t>(scale));
    const double step = d * scale;
    for (int i = 0; i < 16; i++) {
      const int n = j * 16 + i, section = n >> 7, row = (n >> 5) & 3, l = n & 31;
      const int q = static_cast<int>(step == 0 ? 0 : level(x[n] / step, -32, 31)) + 32;
      block[section * 64 + (row & 1) * 32 + l] |= static_cast<uint8_t>((q & 15) << (row < 2 ? 0 : 4));
      block[128 + section * 32 + l] |= static_cast<uint8_t>((q >> 4) << (row * 2));
    }
  }
}

SWITCHYARD_INLINE void encodeMXFP4(const float* x, uint8_t* block) {
  static constexpr double sizes[] = {0, 1, 2, 3, 4, 6, 8, 12};
  const double largest = std::abs(extremeOf(x, 32));
  const int e = largest == 0 ? 0 : std::min(std::max(std::ilogb(largest) - 2 + 127, 0), 254);
  const double scale = std::ldexp(1.0, e - 128);
  const auto code = [&](float value) {
    const double size = std::abs(value / scale);
    int best = 0;
    for (int i = 1; i < 8; i++)
      if (std::abs(sizes[i] - size) < std::abs(sizes[best] - size)) best = i;
    return value < 0 && best > 0 ? best + 8 : best;
  };
  block[0] = static_cast<uint8_t>(e);
  for (int i = 0; i < 16; i++) block[1 + i] = static_cast<uint8_t>(code(x[i]) | (code(x[16 + i]) << 4));
}

}  // namespace

// A function of its own for each type, so that each is compiled for every processor.
#define SWITCHYARD_ENCODER(TYPE, VALUES, BYTES)                                                    \
  SWITCHYARD_VECTORIZED                                                                            \
  void encode##TYPE##Blocks(const float* values, uint8_t* blocks, int64_t count) {                 \
    for (int64_t i = 0; i < count; i++) encode##TYPE(values + i * (VALUES), blocks + i * (BYTES)); \
  }
SWITCHYARD_BLOCK_TYPES(SWITCHYARD_ENCODER, SWITCHYARD_NO_BLOCKS)

at::Tensor quantize(const at::Tensor& values, const std::string& type) {
  TORCH_CHECK(values.is_cpu() && values.scalar_type() == at::kFloat && values.is_contiguous(),
              "values must be contiguous f32 on the cpu");
  const BlockType& blocks = blockTypeOf(type);
  TORCH_CHECK(blocks.encode != nullptr, "there is no rule to write blocks of type '", type, "'");
  TORCH_CHECK(values.numel() % blocks.values == 0, values.numel(), " values are no whole blocks of ", blocks.values);
  const int64_t count = values.numel() / blocks.values;
  at::Tensor bytes = at::empty({count * blocks.bytes}, values.options().dtype(at::kByte));
  const float* from = values.data_ptr<float>();
  uint8_t* to = bytes.data_ptr<uint8_t>();
  parallelRange(count, 4096 / blocks.values, [&](int64_t begin, int64_t end) {
    blocks.encode(from + begin * blocks.values, to + begin * blocks.bytes, end - begin);
  });
  return bytes;
}

}  // namespace switchyard

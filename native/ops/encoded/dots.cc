// `sum_b d_b s_b sum_i w_bi x_bi`: 32 products of 8-bit numbers are exact in integers; then the scales of both, in f32.

#include "dots.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "../blocks/half.h"
#include "../common/simd.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define SWITCHYARD_HAS_AVX2_CODE
#include <immintrin.h>
#endif

namespace switchyard {
namespace {

float portableQ8_0(const uint8_t* row, const QuantizedRow& x, int64_t blocks) {
  float sum = 0;
  for (int64_t b = 0; b < blocks; b++, row += 34) {
    const auto* w = reinterpret_cast<const int8_t*>(row + 2);
    const int8_t* q = x.values + 32 * b;
    int32_t products = 0;
    for (int i = 0; i < 32; i++) products += w[i] * q[i];
    sum += halfAt(row) * x.scales[b] * static_cast<float>(products);
  }
  return sum;
}

float portableQ4_0(const uint8_t* row, const QuantizedRow& x, int64_t blocks) {
  float sum = 0;
  for (int64_t b = 0; b < blocks; b++, row += 18) {
    const int8_t* q = x.values + 32 * b;
    int32_t products = 0;
    for (int i = 0; i < 16; i++) {
      products += ((row[2 + i] & 15) - 8) * q[i];
      products += ((row[2 + i] >> 4) - 8) * q[16 + i];
    }
    sum += halfAt(row) * x.scales[b] * static_cast<float>(products);
  }
  return sum;
}

#if defined(SWITCHYARD_HAS_AVX2_CODE)
#define SWITCHYARD_AVX2 __attribute__((target("avx2,fma,f16c")))

SWITCHYARD_AVX2 inline float halfToFloat(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return _cvtsh_ss(bits);
}

/** Eight sums of four products each, of 32 signed numbers: magnitudes of `w`, whose signs go to `q`. */
SWITCHYARD_AVX2 inline __m256 products(__m256i w, __m256i q) {
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_sign_epi8(w, w), _mm256_sign_epi8(q, w));
  return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

SWITCHYARD_AVX2 inline float sumOf(__m256 x) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

SWITCHYARD_AVX2 inline __m256i load(const void* bytes) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
}

SWITCHYARD_AVX2 float avx2Q8_0(const uint8_t* row, const QuantizedRow& x, int64_t blocks) {
  __m256 sum = _mm256_setzero_ps();
  for (int64_t b = 0; b < blocks; b++, row += 34) {
    const __m256 scale = _mm256_set1_ps(halfToFloat(row) * x.scales[b]);
    sum = _mm256_fmadd_ps(scale, products(load(row + 2), load(x.values + 32 * b)), sum);
  }
  return sumOf(sum);
}

SWITCHYARD_AVX2 float avx2Q4_0(const uint8_t* row, const QuantizedRow& x, int64_t blocks) {
  const __m256i low = _mm256_set1_epi8(15), eight = _mm256_set1_epi8(8);
  __m256 sum = _mm256_setzero_ps();
  for (int64_t b = 0; b < blocks; b++, row += 18) {
    const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2));
    const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(packed), _mm_srli_epi16(packed, 4), 1);
    const __m256i w = _mm256_sub_epi8(_mm256_and_si256(both, low), eight);
    const __m256 scale = _mm256_set1_ps(halfToFloat(row) * x.scales[b]);
    sum = _mm256_fmadd_ps(scale, products(w, load(x.values + 32 * b)), sum);
  }
  return sumOf(sum);
}
#endif

/** SWITCHYARD_SIMD=portable does without. */
bool hasAvx2() {
#if defined(SWITCHYARD_HAS_AVX2_CODE)
  const char* wanted = std::getenv("SWITCHYARD_SIMD");
  if (wanted != nullptr && std::strcmp(wanted, "portable") == 0) return false;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
#else
  return false;
#endif
}

SWITCHYARD_VECTORIZED
float bf16Loop(const uint16_t* row, const float* x, int64_t count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) {
    const uint32_t bits = static_cast<uint32_t>(row[i]) << 16;
    float w;
    std::memcpy(&w, &bits, sizeof w);
    sum += w * x[i];
  }
  return sum;
}

/** What is not finite makes the block's scale NaN, so that it shows in every result. */
SWITCHYARD_VECTORIZED
void quantizeBlock(const float* x, int64_t count, int8_t* values, float* scale) {
  constexpr float kMost = std::numeric_limits<float>::max();
  float largest = 0;
  int bad = 0;
#pragma omp simd reduction(max : largest) reduction(| : bad)
  for (int64_t i = 0; i < count; i++) {
    const float size = std::fabs(x[i]);
    bad |= !(size <= kMost);
    largest = size > largest ? size : largest;
  }
  *scale = bad ? std::numeric_limits<float>::quiet_NaN() : largest / 127;
  const float inverse = bad || largest == 0 ? 0 : 127 / largest;
  for (int64_t i = 0; i < count; i++) {
    values[i] = bad ? 0 : static_cast<int8_t>(__builtin_nearbyintf(x[i] * inverse));
  }
}

}  // namespace

#if defined(SWITCHYARD_HAS_AVX2_CODE)
Dot dotQ8_0() { return hasAvx2() ? &avx2Q8_0 : &portableQ8_0; }
Dot dotQ4_0() { return hasAvx2() ? &avx2Q4_0 : &portableQ4_0; }
#else
Dot dotQ8_0() { return &portableQ8_0; }
Dot dotQ4_0() { return &portableQ4_0; }
#endif

float dotBf16(const uint8_t* row, const float* x, int64_t count) {
  return bf16Loop(reinterpret_cast<const uint16_t*>(row), x, count);
}

void quantizeRow(const float* x, int64_t count, int8_t* values, float* scales) {
  for (int64_t begin = 0, b = 0; begin < count; begin += kQuantizedBlock, b++) {
    quantizeBlock(x + begin, std::min(kQuantizedBlock, count - begin), values + begin, scales + b);
  }
}

}  // namespace switchyard

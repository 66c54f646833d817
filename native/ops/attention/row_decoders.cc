// Each is written for three kinds of x86-64, of which the loader picks one, as of SWITCHYARD_VECTORIZED: what the compiler
// makes of the plain loops takes twice as long. All give the same bits.

#include "row_decoders.h"

#include "../blocks/half.h"
#include "../blocks/types.h"
#include "../common/elementwise.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC 12's own intrinsics
#include <immintrin.h>
#define SWITCHYARD_AVX512 __attribute__((target("arch=x86-64-v4")))
#define SWITCHYARD_AVX2 __attribute__((target("arch=x86-64-v3")))
#define SWITCHYARD_PLAIN __attribute__((target("default")))
#else
#define SWITCHYARD_PLAIN
#endif

namespace switchyard {

SWITCHYARD_PLAIN
void decodeHalves(const uint8_t* halves, float* to, int64_t count) {
  widenRow(reinterpret_cast<const c10::Half*>(halves), to, count);
}

SWITCHYARD_PLAIN
void decodeQ8_0Rows(const uint8_t* blocks, float* to, int64_t count) { decodeQ8_0Blocks(blocks, to, count); }

#if defined(SWITCHYARD_AVX512)
SWITCHYARD_AVX512
void decodeHalves(const uint8_t* halves, float* to, int64_t count) {
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m256i some = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves + 2 * i));
    _mm512_storeu_ps(to + i, _mm512_cvtph_ps(some));
  }
  for (; i < count; i++) to[i] = halfAt(halves + 2 * i);
}

SWITCHYARD_AVX2
void decodeHalves(const uint8_t* halves, float* to, int64_t count) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i some = _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + 2 * i));
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(some));
  }
  for (; i < count; i++) to[i] = halfAt(halves + 2 * i);
}

SWITCHYARD_AVX512
void decodeQ8_0Rows(const uint8_t* blocks, float* to, int64_t count) {
  for (; count > 0; count--, blocks += kBlocksOfQ8_0.bytes) {
    const __m512 scale = _mm512_set1_ps(halfAt(blocks));
    for (int i = 0; i < 32; i += 16, to += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(blocks + 2 + i));
      _mm512_storeu_ps(to, _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))));
    }
  }
}

SWITCHYARD_AVX2
void decodeQ8_0Rows(const uint8_t* blocks, float* to, int64_t count) {
  for (; count > 0; count--, blocks += kBlocksOfQ8_0.bytes) {
    const __m256 scale = _mm256_set1_ps(halfAt(blocks));
    for (int i = 0; i < 32; i += 8, to += 8) {
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(blocks + 2 + i));
      _mm256_storeu_ps(to, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))));
    }
  }
}
#endif

const RowDecoder kHalves = {1, 2, [](const uint8_t* halves, float* to, int64_t n) { decodeHalves(halves, to, n); }};
const RowDecoder kBlocksOfQ8_0 = {32, 34, [](const uint8_t* blocks, float* to, int64_t n) { decodeQ8_0Rows(blocks, to, n); }};

}  // namespace switchyard

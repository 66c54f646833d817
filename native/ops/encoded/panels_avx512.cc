// Panel products by AVX-512 with VNNI: a vector is a panel's 16 rows.

#include "panel_products.h"

#if defined(SWITCHYARD_HAS_X86_PANELS)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC 12's own intrinsics
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

namespace switchyard {
namespace avx512vnni {
namespace {

constexpr int kTile = 8;

using Floats = __m512;
using Ints = __m512i;
using Bytes = __m512i;

inline __m128i load16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

inline Floats zeros() { return _mm512_setzero_ps(); }
inline Floats all(float x) { return _mm512_set1_ps(x); }
inline Ints all(int32_t x) { return _mm512_set1_epi32(x); }
inline Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
inline Ints mul(Ints a, Ints b) { return _mm512_mullo_epi32(a, b); }
inline Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Floats toFloats(Ints x) { return _mm512_cvtepi32_ps(x); }
inline void store(float* to, Floats x) { _mm512_storeu_ps(to, x); }
inline Floats halves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Floats halfPowers(const uint8_t* p) {
  const Ints e = _mm512_cvtepu8_epi32(load16(p));
  const Ints normal = _mm512_slli_epi32(_mm512_sub_epi32(e, all(1)), 23);
  const Ints tiny = _mm512_sllv_epi32(all(0x00200000), e);  // below 2^-126
  return _mm512_castsi512_ps(_mm512_mask_blend_epi32(_mm512_cmplt_epu32_mask(e, all(2)), normal, tiny));
}
inline Ints signedBytes(const uint8_t* p) { return _mm512_cvtepi8_epi32(load16(p)); }
inline Bytes load(const uint8_t* p) { return _mm512_loadu_si512(p); }
inline Bytes nibbles(Bytes x, int high) {
  return _mm512_and_si512(high ? _mm512_srli_epi16(x, 4) : x, _mm512_set1_epi8(15));
}
inline Bytes lookUp(const uint8_t* table, Bytes x) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load16(table)), x);
}
inline Bytes sixBitValues(Bytes low, Bytes high, int quarter) {
  const Bytes two = _mm512_and_si512(_mm512_srli_epi16(high, 2 * quarter), _mm512_set1_epi8(3));
  return _mm512_or_si512(low, _mm512_slli_epi16(two, 4));
}
inline Floats sixBits(const uint8_t* p, int sub, int min) {
  __m128i bits;
  if (sub < 4) {
    bits = _mm_and_si128(load16(p + kPanel * (sub + min)), _mm_set1_epi8(63));
  } else {
    const __m128i low = load16(p + kPanel * (sub + 4)), high = load16(p + kPanel * (sub - 4 + min));
    bits = _mm_and_si128(min == 0 ? low : _mm_srli_epi16(low, 4), _mm_set1_epi8(15));
    bits = _mm_or_si128(bits, _mm_and_si128(_mm_srli_epi16(high, 2), _mm_set1_epi8(48)));
  }
  return toFloats(_mm512_cvtepu8_epi32(bits));
}
inline Ints four(const int8_t* x) {
  int32_t bits;
  __builtin_memcpy(&bits, x, sizeof bits);
  return all(bits);
}
inline Ints dot(Ints sum, Bytes w, const int8_t* x) { return _mm512_dpbusd_epi32(sum, w, four(x)); }
inline Ints signedStart(int32_t sum) { return all(sum); }
inline Ints signedDot(Ints sum, Bytes w, const int8_t* x) {
  return dot(sum, _mm512_xor_si512(w, _mm512_set1_epi8(-128)), x);  // 128 more, unsigned
}

#include "panel_loops.inc"

}  // namespace
}  // namespace avx512vnni

const PanelProducts& avx512VnniProducts() { return avx512vnni::kProducts; }

}  // namespace switchyard

#pragma GCC pop_options
#else
namespace switchyard {
const PanelProducts& avx512VnniProducts() { return portableProducts(); }
}  // namespace switchyard
#endif

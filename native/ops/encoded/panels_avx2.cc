// Panel products by AVX2, and by AVX2 with VNNI.

#include "panel_products.h"

#if defined(SWITCHYARD_HAS_X86_PANELS)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")

namespace switchyard {
namespace avx2 {
namespace {

#include "panel_vectors_avx2.inc"

/** Pairs of products fit 16 bits: weights are below 64 here, and 128 in magnitude in signedDot(). */
inline __m256i dot(__m256i sum, __m256i w, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(w, x);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
inline Ints dot(Ints sum, Bytes w, const int8_t* x) { return {dot(sum.low, w.low, four(x)), dot(sum.high, w.high, four(x))}; }

/** Weights are not made unsigned: their signs go to the activations. */
inline Ints signedStart(int32_t) { return all(0); }
inline __m256i signedDot(__m256i sum, __m256i w, __m256i x) {
  return dot(sum, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}
inline Ints signedDot(Ints sum, Bytes w, const int8_t* x) {
  return {signedDot(sum.low, w.low, four(x)), signedDot(sum.high, w.high, four(x))};
}

#include "panel_loops.inc"

}  // namespace
}  // namespace avx2
}  // namespace switchyard

#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avxvnni")

namespace switchyard {
namespace avxvnni {
namespace {

#include "panel_vectors_avx2.inc"

inline Ints dot(Ints sum, Bytes w, const int8_t* x) {
  return {_mm256_dpbusd_avx_epi32(sum.low, w.low, four(x)), _mm256_dpbusd_avx_epi32(sum.high, w.high, four(x))};
}
inline Ints signedStart(int32_t sum) { return all(sum); }
inline Ints signedDot(Ints sum, Bytes w, const int8_t* x) {
  const __m256i more = _mm256_set1_epi8(-128);  // 128 more, unsigned
  return dot(sum, {_mm256_xor_si256(w.low, more), _mm256_xor_si256(w.high, more)}, x);
}

#include "panel_loops.inc"

}  // namespace
}  // namespace avxvnni
}  // namespace switchyard

#pragma GCC pop_options

namespace switchyard {
const PanelProducts& avx2Products() { return avx2::kProducts; }
const PanelProducts& avxVnniProducts() { return avxvnni::kProducts; }
}  // namespace switchyard
#else
namespace switchyard {
const PanelProducts& avx2Products() { return portableProducts(); }
const PanelProducts& avxVnniProducts() { return portableProducts(); }
}  // namespace switchyard
#endif

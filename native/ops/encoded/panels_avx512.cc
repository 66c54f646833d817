// Panel products by AVX-512 with VNNI: a vector is a panel's 16 rows.

#include "panel_products.h"

#if defined(SWITCHYARD_HAS_X86_PANELS)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

namespace switchyard {
namespace avx512vnni {
namespace {

#include "panel_vectors_avx512.inc"

constexpr bool kHasWideTiles = false;

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

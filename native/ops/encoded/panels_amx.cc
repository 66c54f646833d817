// Panel products by AMX: a panel's block is a tile of weights, 16 rows of activations are another. What is too little for tiles
// goes by AVX-512 VNNI.

#include "panel_products.h"

#if defined(SWITCHYARD_HAS_X86_PANELS) && defined(__linux__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8")

namespace switchyard {
namespace amx {
namespace {

#include "panel_vectors_avx512.inc"

constexpr bool kHasWideTiles = true;

#include "panel_loops.inc"

/** Rows of activations in a tile. */
constexpr int kRows = 16;

/** Blocks whose weights are unpacked at once, as many as a core's first cache has room for. */
constexpr int64_t kBlocks = 32;
constexpr int kUnpackedBytes = kQuantizedBlock * kPanel;

// The tiles, by what they hold. Intrinsics take numbers alone.
#define SUMS 0
#define ACTIVATIONS 1
#define WEIGHTS 2

/** Rows and bytes of a row of each tile. */
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start = 0;
  uint8_t reserved[14] = {};
  uint16_t rowBytes[16] = {64, kQuantizedBlock, 64};
  uint8_t rows[16] = {kRows, kRows, kQuantizedBlock / 4};
};

/** Tiles are this thread's while it lives: the kernel saves them until they are given up. */
class Tiles {
 public:
  Tiles() {
    static const TileShapes shapes;
    _tile_loadconfig(&shapes);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

/** Rows of activations whose values, and whose scales and sums, are equally far from each other. */
struct EvenRows {
  const int8_t* values;
  int64_t valueStride;
  const float* scales;
  int64_t scaleStride;
  const int32_t* sums;
  int64_t sumStride;

  /** Whether 16 are such rows. */
  static bool areThere(const QuantizedRow* x) {
    for (int t = 2; t < kRows; t++) {
      if (x[t].values - x[t - 1].values != x[1].values - x[0].values ||
          x[t].scales - x[t - 1].scales != x[1].scales - x[0].scales ||
          x[t].sums - x[t - 1].sums != x[1].sums - x[0].sums) {
        return false;
      }
    }
    return true;
  }

  explicit EvenRows(const QuantizedRow* x)
      : values(x[0].values), valueStride(x[1].values - x[0].values), scales(x[0].scales),
        scaleStride(x[1].scales - x[0].scales), sums(x[0].sums), sumStride(x[1].sums - x[0].sums) {}

  int32_t sum(int t, int64_t b) const { return sums[t * sumStride + 2 * b] + sums[t * sumStride + 2 * b + 1]; }
};

/** A block's weights as a tile has them, signed where there is no minimum: where the panel has them so, or unpacked. */
template <typename Type>
const uint8_t* unpacked(const Type& block, uint8_t* to) {
  if constexpr (Type::kSigned) return block.block + 32;
  for (int j = 0; j < 8; j++) {
    _mm512_store_si512(to + 64 * j, _mm512_sub_epi8(block.weights(j), _mm512_set1_epi8(Type::kOffset)));
  }
  return to;
}

/** What tile() computes, of 16 rows and some blocks: the same operations in the same order, but for those on integers. */
template <typename Type>
void wideTile(const uint8_t* panel, const uint8_t* const* weights, int64_t begin, int64_t end, const EvenRows& x, float* y,
              int64_t stride) {
  alignas(64) int32_t dots[kRows][kPanel];
  Floats sums[kRows];
  for (int t = 0; t < kRows; t++) sums[t] = begin == 0 ? zeros() : _mm512_loadu_ps(y + t * stride);
  for (int64_t b = begin; b < end; b++) {
    const Type block(panel, b);
    _tile_zero(SUMS);
    _tile_loadd(WEIGHTS, weights[b - begin], 64);
    _tile_loadd(ACTIVATIONS, x.values + kQuantizedBlock * b, x.valueStride);
    if constexpr (Type::kHasMin) _tile_dpbsud(SUMS, ACTIVATIONS, WEIGHTS);
    else _tile_dpbssd(SUMS, ACTIVATIONS, WEIGHTS);
    _tile_stored(SUMS, dots, 64);
    const Floats scale = block.scale();
    Floats min;
    if constexpr (Type::kHasMin) min = block.min();
    for (int t = 0; t < kRows; t++) {
      const Ints products = _mm512_load_si512(dots[t]);
      const float own = x.scales[t * x.scaleStride + b];
      sums[t] = fma(mul(scale, all(own)), toFloats(products), sums[t]);
      if constexpr (Type::kHasMin) {
        const float weight = own * static_cast<float>(x.sum(t, b));
        sums[t] = fma(min, all(-weight), sums[t]);
      }
    }
  }
  for (int t = 0; t < kRows; t++) store(y + t * stride, sums[t]);
}

/** Two scales per block are too many for tiles: VNNI is quicker. */
template <typename Type>
int64_t wideTiles(const uint8_t* panel, int64_t blocks, const QuantizedRow* x, int64_t count, float* y,
                  int64_t stride) {
  if (Type::kHasHalves || count < kRows) return 0;
  int64_t even = 0;
  while (even + kRows <= count && EvenRows::areThere(x + even)) even += kRows;
  if (even == 0) return 0;
  const Tiles tiles;
  alignas(64) uint8_t scratch[kBlocks][kUnpackedBytes];
  const uint8_t* weights[kBlocks];
  for (int64_t begin = 0; begin < blocks; begin += kBlocks) {
    const int64_t end = begin + kBlocks < blocks ? begin + kBlocks : blocks;
    for (int64_t b = begin; b < end; b++) weights[b - begin] = unpacked(Type(panel, b), scratch[b - begin]);
    for (int64_t t = 0; t < even; t += kRows) {
      wideTile<Type>(panel, weights, begin, end, EvenRows(x + t), y + t * stride, stride);
    }
  }
  return even;
}

#undef SUMS
#undef ACTIVATIONS
#undef WEIGHTS

}  // namespace
}  // namespace amx

const PanelProducts& amxProducts() { return amx::kProducts; }

}  // namespace switchyard

#pragma GCC pop_options

namespace switchyard {

bool hasAmx() {
  static const bool has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kTiles = 1u << 24, kInt8 = 1u << 25;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTiles) == 0 || (d & kInt8) == 0) return false;
    constexpr long kRequestState = 0x1023, kTileData = 18;  // tiles are large: the kernel wants to be asked
    return syscall(SYS_arch_prctl, kRequestState, kTileData) == 0;
  }();
  return has;
}

}  // namespace switchyard
#else
namespace switchyard {
const PanelProducts& amxProducts() { return portableProducts(); }
bool hasAmx() { return false; }
}  // namespace switchyard
#endif

// Rows of a matrix in panels of 16: their blocks interleaved piece by piece, so that one vector holds the same inputs of 16 rows.
// A panel has the bytes of its rows, in another order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

/** Rows of a panel. */
constexpr int64_t kPanel = 16;

/** Values that share a scale in a quantized row. */
constexpr int64_t kQuantizedBlock = 32;

/**
 * A row of activations as 8-bit numbers: `scales[b] values[32 b + i]`. `sums[2 b]`, `sums[2 b + 1]`: of 16 values each, times
 * the type's `sumFactor`.
 */
struct QuantizedRow {
  const int8_t* values;
  const float* scales;
  const int32_t* sums;
};

/** `y[t stride + r] = row_r x_t` for the rows r of a panel of `blocks` blocks of 32 values, and `count` rows of activations. */
using PanelProduct = void (*)(const uint8_t* panel, int64_t blocks, const QuantizedRow* x, int64_t count, float* y,
                              int64_t stride);

/** Rows of numbers, one after the other: of weights, as a file has them or decoded. */
struct RowsOfNumbers {
  const uint8_t* data;
  int64_t rowBytes;
  int64_t outputs;
  int64_t columns;
};

/**
 * `y[t stride + o] = row_o x_t` for all rows and `count` rows of activations. What comes of two rows does not depend on which
 * others are computed with them.
 */
using RowProduct = void (*)(const RowsOfNumbers& rows, const float* const* x, int64_t count, float* y, int64_t stride);

/** `count` neighbouring pieces of a block, each of so many bytes, which interleave with those of the other rows. */
struct Pieces {
  int64_t bytes;
  int64_t count;
};

struct PanelProducts;

struct PanelType {
  int64_t blockBytes;          // of one row
  int32_t sumFactor;           // what `sums` are multiplied by: less what is added to make weights unsigned
  std::vector<Pieces> pieces;  // of a block, in order
  PanelProduct PanelProducts::*product;
};

/** Types of blocks that have panels. */
std::vector<std::string> panelTypes();

/** The panels of rows of type `name`; null where there are none. */
const PanelType* panelTypeOf(const std::string& name);

/** In the form that chooseSimd() says. */
PanelProduct panelProduct(const PanelType& type);
RowProduct rowProduct(RowProduct PanelProducts::*product);

/** Rows of one type, [rows, rowBytes], as panels [rows rounded up to 16, rowBytes]: rows that are not there are zeros. */
void interleave(const PanelType& type, const uint8_t* rows, int64_t count, int64_t rowBytes, uint8_t* panels);

/** Row `index` of panels, as it was. */
void extractRow(const PanelType& type, const uint8_t* panels, int64_t index, int64_t rowBytes, uint8_t* row);

/** The forms of inner loops that this processor has, the best last: portable, avx2, avxvnni, avx512vnni, amx. */
std::vector<std::string> simdLevels();

/** The one in use: the best, or what SWITCHYARD_SIMD says. All give the same results to the bit. */
std::string simdChoice();

/** Throws c10::Error for what this processor has not. */
void chooseSimd(const std::string& level);

}  // namespace switchyard

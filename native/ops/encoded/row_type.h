// How a row of a weight matrix is encoded in a file: quantized blocks, or numbers in half precision. And what can be computed
// with one without decoding it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

/** A row of activations as 8-bit numbers, `scales[b] * values[32 b + i]`. */
struct QuantizedRow {
  const int8_t* values;
  const float* scales;
};

/** Largest magnitude / 127 is the scale of each 32 values; the last block may be short. */
void quantizeRow(const float* x, int64_t count, int8_t* values, float* scales);

/** Values that share a scale in a quantized row. */
constexpr int64_t kQuantizedBlock = 32;

struct RowType {
  int64_t values;  // of a block
  int64_t bytes;
  void (*decode)(const uint8_t* blocks, float* values, int64_t count);
  /** The product of an encoded row of `blocks` blocks and a quantized one; null where there is no quick way. */
  float (*dot)(const uint8_t* row, const QuantizedRow& x, int64_t blocks);
  /** The same with a row in f32, for types in which every number is f32's. */
  float (*dotWide)(const uint8_t* row, const float* x, int64_t count);
};

/** A GGUF type, or BF16 or F16. Throws c10::Error for a name that is none. */
const RowType& rowTypeOf(const std::string& name);

}  // namespace switchyard

// Rows whose scales files have apart from their values, as blocks that have both: nothing is rounded.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace switchyard {

struct Packing {
  const char* name;  // of the rows that come of it: see rowTypeOf()
  int64_t values;    // of a block
  int64_t valueBytes;
  int64_t blockBytes;  // values and scale together
  int64_t scaleBytes;
  int64_t rowsPerScale;
  void (*pack)(const uint8_t* values, const uint8_t* scale, uint8_t* block);

  int64_t scalesOf(int64_t rows, int64_t blocks) const {
    return (rows + rowsPerScale - 1) / rowsPerScale * blocks * scaleBytes;
  }
};

/** Null for a type whose rows files have as they are. Throws c10::Error for a name that is none. */
const Packing* packingOf(const std::string& name);

/** A matrix of a file: values [rows, blocks, valueBytes], and scales [rows / rowsPerScale, blocks]. */
struct ApartRows {
  const uint8_t* values;
  const uint8_t* scales;
  int64_t rows;
  int64_t blocks;  // of a row
};

/** To [rows, blocks, blockBytes], the bytes of a row in order. */
void packRows(const Packing& packing, const ApartRows& from, uint8_t* to);

/**
 * @param values u8 [O, bytes]
 * @param scales u8 [O or a part of it, bytes]
 * @returns u8 [O, bytes] of the packing's type
 */
at::Tensor packedRows(const at::Tensor& values, const at::Tensor& scales, const std::string& packing);

}  // namespace switchyard

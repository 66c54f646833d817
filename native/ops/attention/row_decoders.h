// What attention decodes all the time: rows of a cache in f16 and in Q8_0, to f32.
#pragma once

#include <cstdint>

namespace switchyard {

struct RowDecoder {
  int64_t values;  // of a block
  int64_t bytes;
  void (*decode)(const uint8_t* blocks, float* values, int64_t count);
};

extern const RowDecoder kHalves, kBlocksOfQ8_0;

}  // namespace switchyard

// The types of quantized blocks, each once: name, values and bytes of a block. GGUF's, as ggmlTypes in
// src/formats/quantization/types.ts has them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

/** Expands `BOTH(TYPE, VALUES, BYTES)` for each type that is read and written, `READ(...)` for each that is only read. */
#define SWITCHYARD_BLOCK_TYPES(BOTH, READ) \
  BOTH(Q8_0, 32, 34)                       \
  BOTH(Q4_0, 32, 18)                       \
  READ(Q4_1, 32, 20)                       \
  READ(Q5_0, 32, 22)                       \
  READ(Q5_1, 32, 24)                       \
  BOTH(Q2_K, 256, 84)                      \
  BOTH(Q3_K, 256, 110)                     \
  BOTH(Q4_K, 256, 144)                     \
  BOTH(Q5_K, 256, 176)                     \
  BOTH(Q6_K, 256, 210)                     \
  BOTH(IQ4_NL, 32, 18)                     \
  BOTH(IQ4_XS, 256, 136)                   \
  BOTH(MXFP4, 32, 17)
#define SWITCHYARD_NO_BLOCKS(TYPE, VALUES, BYTES)

/** How much the error of each column of a row counts; null: all alike. Rows are whole blocks. */
struct RowImportance {
  const float* values;
  int64_t columns;
};

/** Which of a tensor's blocks. */
struct BlockRange {
  int64_t begin;
  int64_t end;
};

// decodeQ8_0Blocks() and so on: dequantize.cc; encodeQ8_0Blocks(): quantize.cc.
#define SWITCHYARD_DECLARE_DECODER(TYPE, VALUES, BYTES) \
  void decode##TYPE##Blocks(const uint8_t* blocks, float* values, int64_t count);
#define SWITCHYARD_DECLARE_ENCODER(TYPE, VALUES, BYTES) \
  void encode##TYPE##Blocks(const float* values, const RowImportance& importance, uint8_t* blocks, BlockRange range);
SWITCHYARD_BLOCK_TYPES(SWITCHYARD_DECLARE_DECODER, SWITCHYARD_DECLARE_DECODER)
SWITCHYARD_BLOCK_TYPES(SWITCHYARD_DECLARE_ENCODER, SWITCHYARD_NO_BLOCKS)

struct BlockType {
  const char* name;
  int64_t values;
  int64_t bytes;
  void (*decode)(const uint8_t* blocks, float* values, int64_t count);
  // null: there is no rule
  void (*encode)(const float* values, const RowImportance& importance, uint8_t* blocks, BlockRange range);
};

const std::vector<BlockType>& blockTypes();

/** Throws c10::Error for a name that is none. */
const BlockType& blockTypeOf(const std::string& name);

}  // namespace switchyard

// Layouts are those of ggml-quants.c; the readable twin of each is in src/formats/quantization.
#include "dequantize.h"

#include <ATen/ops/empty.h>

#include <array>
#include <cmath>

#include "../common/parallel.h"
#include "../common/simd.h"
#include "half.h"
#include "levels.h"
#include "types.h"

namespace switchyard {
namespace {

SWITCHYARD_INLINE void decodeQ8_0(const uint8_t* block, float* y) {
  const float d = halfAt(block);
  for (int i = 0; i < 32; i++) y[i] = d * static_cast<int8_t>(block[2 + i]);
}

SWITCHYARD_INLINE void decodeQ4_0(const uint8_t* block, float* y) {
  const float d = halfAt(block);
  for (int i = 0; i < 16; i++) {
    y[i] = d * static_cast<float>((block[2 + i] & 15) - 8);
    y[16 + i] = d * static_cast<float>((block[2 + i] >> 4) - 8);
  }
}

SWITCHYARD_INLINE void decodeQ4_1(const uint8_t* block, float* y) {
  const float d = halfAt(block), m = halfAt(block + 2);
  for (int i = 0; i < 16; i++) {
    y[i] = d * static_cast<float>(block[4 + i] & 15) + m;
    y[16 + i] = d * static_cast<float>(block[4 + i] >> 4) + m;
  }
}

SWITCHYARD_INLINE int fifth(uint32_t bits, int i) { return static_cast<int>((bits >> i) & 1) << 4; }

SWITCHYARD_INLINE void decodeQ5_0(const uint8_t* block, float* y) {
  const float d = halfAt(block);
  uint32_t bits;
  std::memcpy(&bits, block + 2, sizeof bits);
  for (int i = 0; i < 16; i++) {
    y[i] = d * static_cast<float>(((block[6 + i] & 15) | fifth(bits, i)) - 16);
    y[16 + i] = d * static_cast<float>(((block[6 + i] >> 4) | fifth(bits, 16 + i)) - 16);
  }
}

SWITCHYARD_INLINE void decodeQ5_1(const uint8_t* block, float* y) {
  const float d = halfAt(block), m = halfAt(block + 2);
  uint32_t bits;
  std::memcpy(&bits, block + 4, sizeof bits);
  for (int i = 0; i < 16; i++) {
    y[i] = d * static_cast<float>((block[8 + i] & 15) | fifth(bits, i)) + m;
    y[16 + i] = d * static_cast<float>((block[8 + i] >> 4) | fifth(bits, 16 + i)) + m;
  }
}

/** The 6-bit scale and minimum of part j of 8, packed in 12 bytes. */
SWITCHYARD_INLINE void scaleAndMin(const uint8_t* s, int j, float& scale, float& min) {
  const int sc = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4);
  const int m = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | ((s[j] >> 6) << 4);
  scale = static_cast<float>(sc);
  min = static_cast<float>(m);
}

SWITCHYARD_INLINE void decodeQ4_K(const uint8_t* block, float* y) {
  const float d = halfAt(block), dmin = halfAt(block + 2);
  for (int part = 0; part < 8; part++) {
    float scale, min;
    scaleAndMin(block + 4, part, scale, min);
    const float step = d * scale, offset = dmin * min;
    const uint8_t* q = block + 16 + (part >> 1) * 32;
    const int shift = (part & 1) * 4;
    for (int i = 0; i < 32; i++) y[part * 32 + i] = step * static_cast<float>((q[i] >> shift) & 15) - offset;
  }
}

SWITCHYARD_INLINE void decodeQ5_K(const uint8_t* block, float* y) {
  const float d = halfAt(block), dmin = halfAt(block + 2);
  const uint8_t* high = block + 16;
  for (int part = 0; part < 8; part++) {
    float scale, min;
    scaleAndMin(block + 4, part, scale, min);
    const float step = d * scale, offset = dmin * min;
    const uint8_t* q = block + 48 + (part >> 1) * 32;
    const int shift = (part & 1) * 4;
    for (int i = 0; i < 32; i++) {
      const int level = ((q[i] >> shift) & 15) | (((high[i] >> part) & 1) << 4);
      y[part * 32 + i] = step * static_cast<float>(level) - offset;
    }
  }
}

SWITCHYARD_INLINE void decodeQ6_K(const uint8_t* block, float* y) {
  const float d = halfAt(block + 208);
  for (int row = 0; row < 8; row++) {
    const uint8_t* low = block + (row >> 2) * 64 + (row & 1) * 32;
    const uint8_t* high = block + 128 + (row >> 2) * 32;
    const int lowShift = (row & 3) < 2 ? 0 : 4, highShift = (row & 3) * 2;
    for (int part = 0; part < 2; part++) {
      const float step = d * static_cast<float>(static_cast<int8_t>(block[192 + row * 2 + part]));
      for (int i = part * 16; i < part * 16 + 16; i++) {
        const int q = ((low[i] >> lowShift) & 15) | (((high[i] >> highShift) & 3) << 4);
        y[row * 32 + i] = step * static_cast<float>(q - 32);
      }
    }
  }
}

SWITCHYARD_INLINE void decodeQ2_K(const uint8_t* block, float* y) {
  const float d = halfAt(block + 80), dmin = halfAt(block + 82);
  for (int part = 0; part < 16; part++) {
    const float step = d * static_cast<float>(block[part] & 15), offset = dmin * static_cast<float>(block[part] >> 4);
    const uint8_t* q = block + 16 + (part >> 3) * 32 + (part & 1) * 16;
    const int shift = ((part >> 1) & 3) * 2;
    for (int i = 0; i < 16; i++) y[part * 16 + i] = step * static_cast<float>((q[i] >> shift) & 3) - offset;
  }
}

SWITCHYARD_INLINE void decodeQ3_K(const uint8_t* block, float* y) {
  const float d = halfAt(block + 108);
  const uint8_t* scales = block + 96;
  for (int part = 0; part < 16; part++) {
    const int low = (scales[part & 7] >> (part < 8 ? 0 : 4)) & 15;
    const int scale = low | (((scales[8 + (part & 3)] >> ((part >> 2) * 2)) & 3) << 4);
    const float step = d * static_cast<float>(scale - 32);
    const uint8_t* q = block + 32 + (part >> 3) * 32 + (part & 1) * 16;
    const uint8_t* mask = block + (part & 1) * 16;
    const int shift = ((part >> 1) & 3) * 2, bit = part >> 1;
    for (int i = 0; i < 16; i++) {
      const int level = ((q[i] >> shift) & 3) | (((mask[i] >> bit) & 1) << 2);
      y[part * 16 + i] = step * static_cast<float>(level - 4);
    }
  }
}

constexpr std::array<float, 16> doubledE2M1{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/** 32 numbers of 16 bytes through a table: low nibbles are the first half. */
SWITCHYARD_INLINE void decodeTable(const uint8_t* q, const std::array<float, 16>& table, float scale, float* y) {
  for (int i = 0; i < 16; i++) {
    y[i] = scale * table[q[i] & 15];
    y[16 + i] = scale * table[q[i] >> 4];
  }
}

SWITCHYARD_INLINE void decodeIQ4_NL(const uint8_t* block, float* y) {
  decodeTable(block + 2, nonLinear, halfAt(block), y);
}

SWITCHYARD_INLINE void decodeIQ4_XS(const uint8_t* block, float* y) {
  const float d = halfAt(block);
  uint16_t upper;
  std::memcpy(&upper, block + 2, sizeof upper);
  for (int part = 0; part < 8; part++) {
    const int low = (block[4 + (part >> 1)] >> ((part & 1) * 4)) & 15;
    const int scale = low | (((upper >> (2 * part)) & 3) << 4);
    decodeTable(block + 8 + part * 16, nonLinear, d * static_cast<float>(scale - 32), y + part * 32);
  }
}

/** Half of `2^(e - 127)`, exact down to the subnormals. */
SWITCHYARD_INLINE float halfScale(uint8_t e) {
  const uint32_t bits = e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return scale;
}

SWITCHYARD_INLINE void decodeMXFP4(const uint8_t* block, float* y) {
  decodeTable(block + 1, doubledE2M1, halfScale(block[0]), y);
}

void requireBytes(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK(tensor.is_cpu() && tensor.scalar_type() == at::kByte && tensor.is_contiguous(), name,
              " must be contiguous u8 on the cpu");
}

SWITCHYARD_VECTORIZED
void decodePairs(const uint8_t* blocks, const uint8_t* scales, float* values, int64_t count) {
  for (int64_t block = 0; block < count; block++) {
    const float scale = halfScale(scales[block]);
    for (int i = 0; i < 16; i++) {
      const uint8_t packed = blocks[block * 16 + i];
      values[block * 32 + 2 * i] = scale * doubledE2M1[packed & 15];
      values[block * 32 + 2 * i + 1] = scale * doubledE2M1[packed >> 4];
    }
  }
}

std::array<float, 256> float8Table() {
  std::array<float, 256> table{};
  for (int byte = 0; byte < 256; byte++) {
    const int exponent = (byte >> 3) & 15, mantissa = byte & 7;
    const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                     : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    table[byte] = (byte & 127) == 127 ? NAN : (byte & 128) ? -size : size;
  }
  return table;
}

}  // namespace

// A function of its own for each type, so that each is compiled for every processor and its loops are known.
#define SWITCHYARD_DECODER(TYPE, VALUES, BYTES)                                                    \
  SWITCHYARD_VECTORIZED                                                                            \
  void decode##TYPE##Blocks(const uint8_t* blocks, float* values, int64_t count) {                 \
    for (int64_t i = 0; i < count; i++) decode##TYPE(blocks + i * (BYTES), values + i * (VALUES)); \
  }
SWITCHYARD_BLOCK_TYPES(SWITCHYARD_DECODER, SWITCHYARD_DECODER)

at::Tensor dequantize(const at::Tensor& bytes, const std::string& type) {
  requireBytes(bytes, "blocks");
  const BlockType& blocks = blockTypeOf(type);
  TORCH_CHECK(bytes.numel() % blocks.bytes == 0, bytes.numel(), " bytes are no whole blocks of ", blocks.bytes);
  const int64_t count = bytes.numel() / blocks.bytes;
  at::Tensor values = at::empty({count * blocks.values}, bytes.options().dtype(at::kFloat));
  const uint8_t* from = bytes.data_ptr<uint8_t>();
  float* to = values.data_ptr<float>();
  parallelRange(count, 65536 / blocks.values, [&](int64_t begin, int64_t end) {
    blocks.decode(from + begin * blocks.bytes, to + begin * blocks.values, end - begin);
  });
  return values;
}

at::Tensor dequantizePairs(const at::Tensor& blocks, const at::Tensor& scales) {
  requireBytes(blocks, "blocks");
  requireBytes(scales, "scales");
  TORCH_CHECK(blocks.dim() > 0 && blocks.size(-1) == 16 && blocks.numel() == scales.numel() * 16,
              "blocks must be [..., 16] with a scale each, got ", blocks.sizes(), " and ", scales.sizes());
  std::vector<int64_t> shape = blocks.sizes().vec();
  shape.back() = 32;
  at::Tensor values = at::empty(shape, blocks.options().dtype(at::kFloat));
  const uint8_t* from = blocks.data_ptr<uint8_t>();
  const uint8_t* scale = scales.data_ptr<uint8_t>();
  float* to = values.data_ptr<float>();
  parallelRange(scales.numel(), 2048, [&](int64_t begin, int64_t end) {
    decodePairs(from + begin * 16, scale + begin, to + begin * 32, end - begin);
  });
  return values;
}

at::Tensor dequantizeFloat8(const at::Tensor& bytes, const at::Tensor& scales) {
  requireBytes(bytes, "values");
  TORCH_CHECK(bytes.dim() == 2 && scales.dim() == 2 && scales.scalar_type() == at::kFloat && scales.is_contiguous(),
              "values and f32 scales must be matrices");
  const int64_t rows = bytes.size(0), columns = bytes.size(1), perRow = scales.size(1);
  TORCH_CHECK(scales.size(0) == (rows + 127) / 128 && perRow == (columns + 127) / 128,
              "there must be a scale for each 128 by 128 values, got ", scales.sizes(), " for ", bytes.sizes());
  static const std::array<float, 256> table = float8Table();
  at::Tensor values = at::empty(bytes.sizes(), bytes.options().dtype(at::kFloat));
  const uint8_t* from = bytes.data_ptr<uint8_t>();
  const float* scale = scales.data_ptr<float>();
  float* to = values.data_ptr<float>();
  parallelRange(rows, std::max<int64_t>(1, 65536 / std::max<int64_t>(1, columns)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      for (int64_t column = 0; column < columns; column++) {
        const int64_t i = row * columns + column;
        to[i] = table[from[i]] * scale[(row / 128) * perRow + column / 128];
      }
    }
  });
  return values;
}

}  // namespace switchyard

#include "packing.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#include "../common/parallel.h"

namespace switchyard {
namespace {

/** gpt-oss's: a byte has two neighbours; GGML's has one of the first 16 and one of the others. */
void packMxfp4(const uint8_t* values, const uint8_t* scale, uint8_t* block) {
  block[0] = *scale;
  for (int i = 0; i < 8; i++) {
    const uint8_t first = values[i], later = values[i + 8];  // values 2 i, 2 i + 1, and 16 more of each
    block[1 + 2 * i] = static_cast<uint8_t>((first & 15) | (later & 15) << 4);
    block[2 + 2 * i] = static_cast<uint8_t>(first >> 4 | (later & 0xf0));
  }
}

/** DeepSeek-V3's: f32 scales, which 128 rows share. */
void packFloat8(const uint8_t* values, const uint8_t* scale, uint8_t* block) {
  std::memcpy(block, scale, sizeof(float));
  std::memcpy(block + sizeof(float), values, 128);
}

const Packing packings[] = {
    {"MXFP4", 32, 16, 17, 1, 1, &packMxfp4},
    {"F8_E4M3_B128", 128, 128, 132, 4, 128, &packFloat8},
};

}  // namespace

const Packing* packingOf(const std::string& name) {
  if (name.empty()) return nullptr;
  const auto* found = std::find_if(std::begin(packings), std::end(packings), [&](const Packing& p) { return name == p.name; });
  TORCH_CHECK(found != std::end(packings), "rows are not packed to '", name, "'");
  return found;
}

void packRows(const Packing& packing, const ApartRows& from, uint8_t* to) {
  for (int64_t row = 0; row < from.rows; row++) {
    const uint8_t* scales = from.scales + row / packing.rowsPerScale * from.blocks * packing.scaleBytes;
    for (int64_t b = 0; b < from.blocks; b++, to += packing.blockBytes) {
      packing.pack(from.values + (row * from.blocks + b) * packing.valueBytes, scales + b * packing.scaleBytes, to);
    }
  }
}

at::Tensor packedRows(const at::Tensor& values, const at::Tensor& scales, const std::string& packing) {
  const Packing* kind = packingOf(packing);
  TORCH_CHECK(kind != nullptr && values.dim() == 2 && values.scalar_type() == at::kByte &&
                  scales.scalar_type() == at::kByte && values.is_cpu() && scales.is_cpu() &&
                  values.size(1) % kind->valueBytes == 0,
              "values and scales to pack must be u8 on the cpu, of whole blocks, got ", values.sizes());
  const int64_t rows = values.size(0), blocks = values.size(1) / kind->valueBytes;
  TORCH_CHECK(scales.numel() == kind->scalesOf(rows, blocks), "scales of ", scales.numel(), " bytes do not fit values ",
              values.sizes());
  const at::Tensor from = values.contiguous(), scale = scales.contiguous();
  at::Tensor to = at::empty({rows, blocks * kind->blockBytes}, values.options());
  const int64_t step = kind->rowsPerScale;  // so that each part begins with scales of its own
  parallelRange((rows + step - 1) / step, std::max<int64_t>(1, (1 << 16) / (step * to.size(1) + 1)),
                [&](int64_t begin, int64_t end) {
                  const int64_t first = begin * step, last = std::min(end * step, rows);
                  packRows(*kind,
                           {from.data_ptr<uint8_t>() + first * values.size(1),
                            scale.data_ptr<uint8_t>() + begin * blocks * kind->scaleBytes, last - first, blocks},
                           to.data_ptr<uint8_t>() + first * to.size(1));
                });
  return to;
}

}  // namespace switchyard

// f32 to blocks. Compiled without contraction: in f64, step for step as the twins in src/formats/quantization, so that
// both give the same bytes.
#include <ATen/ops/empty.h>

#include "../common/parallel.h"
#include "../common/simd.h"
#include "dequantize.h"
#include "encode/k_quants.h"
#include "encode/mxfp4.h"
#include "encode/non_linear.h"
#include "encode/simple.h"
#include "types.h"

namespace switchyard {

// A function of its own for each type, so that each is compiled for every processor.
#define SWITCHYARD_ENCODER(TYPE, VALUES, BYTES)                                                                        \
  SWITCHYARD_VECTORIZED                                                                                                \
  void encode##TYPE##Blocks(const float* values, const RowImportance& importance, uint8_t* blocks, BlockRange range) { \
    if (importance.values == nullptr) {                                                                                \
      for (int64_t i = range.begin; i < range.end; i++)                                                                \
        encode::encode##TYPE(values + i * (VALUES), encode::Even{}, blocks + i * (BYTES));                             \
      return;                                                                                                          \
    }                                                                                                                  \
    for (int64_t i = range.begin; i < range.end; i++) {                                                                \
      const encode::Importance weights{importance.values + i * (VALUES) % importance.columns};                         \
      encode::encode##TYPE(values + i * (VALUES), weights, blocks + i * (BYTES));                                      \
    }                                                                                                                  \
  }
SWITCHYARD_BLOCK_TYPES(SWITCHYARD_ENCODER, SWITCHYARD_NO_BLOCKS)

at::Tensor quantize(const at::Tensor& values, const std::string& type, const c10::optional<at::Tensor>& importance) {
  TORCH_CHECK(values.is_cpu() && values.scalar_type() == at::kFloat && values.is_contiguous(),
              "values must be contiguous f32 on the cpu");
  const BlockType& blocks = blockTypeOf(type);
  TORCH_CHECK(blocks.encode != nullptr, "there is no rule to write blocks of type '", type, "'");
  TORCH_CHECK(values.numel() % blocks.values == 0, values.numel(), " values are no whole blocks of ", blocks.values);
  RowImportance row{nullptr, 0};
  if (importance.has_value()) {
    TORCH_CHECK(importance->is_cpu() && importance->scalar_type() == at::kFloat && importance->is_contiguous(),
                "importance must be contiguous f32 on the cpu");
    row = {importance->data_ptr<float>(), importance->numel()};
    TORCH_CHECK(row.columns > 0 && row.columns % blocks.values == 0 && values.numel() % row.columns == 0,
                "importance of ", row.columns, " columns is not that of rows of whole blocks");
  }
  const int64_t count = values.numel() / blocks.values;
  at::Tensor bytes = at::empty({count * blocks.bytes}, values.options().dtype(at::kByte));
  const float* from = values.data_ptr<float>();
  uint8_t* to = bytes.data_ptr<uint8_t>();
  parallelRange(count, 4096 / blocks.values,
                [&](int64_t begin, int64_t end) { blocks.encode(from, row, to, {begin, end}); });
  return bytes;
}

}  // namespace switchyard

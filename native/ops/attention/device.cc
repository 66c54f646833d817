// The operators of positions and attention on the device. Shapes as in leaves.h.

#include <ATen/ops/empty.h>

#include "../common/device_operators.h"
#include "attention_decode_launch.h"
#include "rotate_launch.h"

namespace switchyard::cuda {
namespace {

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  requireDimensions(x, 4, "x");
  const int64_t batch = x.size(0), positions = x.size(1), heads = x.size(2), width = x.size(3);
  TORCH_CHECK(cos.dim() == 2 || cos.dim() == 3, "cos must be [T, R] or [B, T, R], got ", cos.sizes());
  const int64_t rotated = cos.size(-1);
  TORCH_CHECK(rotated % 2 == 0 && rotated <= width, "cos must turn an even number of at most ", width,
              " dimensions, got ", rotated);
  const bool perSequence = cos.dim() == 3;
  const std::vector<int64_t> angles =
      perSequence ? std::vector<int64_t>{batch, positions, rotated} : std::vector<int64_t>{positions, rotated};
  require(cos, x, {"cos", at::kFloat, angles});
  require(sin, x, {"sin", at::kFloat, angles});
  TORCH_CHECK(x.numel() == 0 || x.numel() / width <= INT32_MAX, "x has too many rows: ", x.sizes());
  const OnDevice device(x);
  const at::Tensor from = x.stride(3) == 1 ? x : x.contiguous(), c = cos.contiguous(), s = sin.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options(), at::MemoryFormat::Contiguous);
  launchRotate({elementOf(x, "x"), from.data_ptr(), {from.stride(0), from.stride(1), from.stride(2)},
                c.data_ptr<float>(), s.data_ptr<float>(), perSequence ? positions * rotated : 0, y.data_ptr(), batch,
                positions, heads, width, rotated, inverse},
               device.stream());
  return y;
}

at::Tensor attentionDecode(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                           const at::Tensor& lengths, double scale, int64_t window) {
  requireDimensions(queries, 3, "queries");
  requireDimensions(keys, 4, "keys");
  requireDimensions(values, 4, "values");
  const int64_t batch = queries.size(0), heads = queries.size(1), width = queries.size(2);
  const int64_t groups = keys.size(1), capacity = keys.size(2), valueWidth = values.size(3);
  TORCH_CHECK(groups > 0 && heads % groups == 0, heads, " heads cannot be divided into ", groups, " groups");
  require(keys, queries, {"keys", queries.scalar_type(), {batch, groups, capacity, width}});
  require(values, queries, {"values", queries.scalar_type(), {batch, groups, capacity, valueWidth}});
  require(lengths, queries, {"lengths", at::kInt, {batch}});
  TORCH_CHECK(keys.is_contiguous() && values.is_contiguous(), "keys and values must be contiguous, as the cache is");
  const OnDevice device(queries);
  const at::Tensor q = queries.contiguous(), filled = lengths.contiguous();
  const int64_t splits = decodeSplits(batch, groups, capacity);
  at::Tensor parts = at::empty({batch * heads, splits, valueWidth + 2}, optionsOf(queries, at::kFloat));
  at::Tensor y = at::empty({batch, heads, valueWidth}, queries.options());
  launchAttentionDecode({elementOf(queries, "queries"), q.data_ptr(), keys.data_ptr(), values.data_ptr(),
                         filled.data_ptr<int32_t>(), parts.data_ptr<float>(), y.data_ptr(), static_cast<float>(scale),
                         window, batch, heads, groups, capacity, width, valueWidth, splits},
                        device.stream());
  return y;
}

}  // namespace

SWITCHYARD_DEVICE_OPERATORS(library) {
  library.impl("rotate_forward", &rotate);
  library.impl("attention_decode", &attentionDecode);
}

}  // namespace switchyard::cuda

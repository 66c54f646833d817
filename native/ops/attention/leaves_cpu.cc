// The CPU's leaves: the obvious way, in any floating type; positions in f32 and f64, which decoding turns all the time, by
// loops.

#include <ATen/Functions.h>
#include <torch/library.h>

#include <algorithm>

#include "../common/accumulator.h"
#include "../common/parallel.h"
#include "causal_rows.h"

namespace switchyard {
namespace {

/** x [..., T, H, D] whose rows of D numbers lie together, angles [T, R] or [..., T, R] of its type. */
template <typename T>
at::Tensor rotateRows(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  const at::Tensor from = x.contiguous(), c = cos.contiguous(), s = (inverse ? sin.neg() : sin).contiguous();
  at::Tensor y = at::empty(x.sizes(), from.options());
  const int64_t width = x.size(-1), rotated = c.size(-1), heads = x.size(-2), angles = c.numel() / rotated;
  if (y.numel() == 0) return y;
  const int64_t positions = from.numel() / (heads * width);
  parallelRange(positions, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const T *cosine = c.data_ptr<T>() + i % angles * rotated, *sine = s.data_ptr<T>() + i % angles * rotated;
      for (int64_t row = i * heads; row < (i + 1) * heads; row++) {
        const T* in = from.data_ptr<T>() + row * width;
        T* out = y.data_ptr<T>() + row * width;
        rotateRow(in, cosine, sine, T(1), out, rotated);
        std::copy(in + rotated, in + width, out + rotated);
      }
    }
  });
  return y;
}

at::Tensor rotateCpu(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  const int64_t angles = cos.size(-1);
  TORCH_CHECK(x.dim() >= 3 && angles % 2 == 0 && angles <= x.size(-1) && cos.sizes() == sin.sizes(),
              "angles cos ", cos.sizes(), " and sin ", sin.sizes(), " do not turn x ", x.sizes());
  const bool isShared = cos.dim() == 2 && cos.size(0) == x.size(-3);
  const bool isOwn = cos.dim() == x.dim() - 1 && cos.sizes().slice(0, cos.dim() - 1) == x.sizes().slice(0, x.dim() - 2);
  const bool isOneType = cos.scalar_type() == x.scalar_type() && sin.scalar_type() == x.scalar_type();
  if (isOneType && angles > 0 && (isShared || isOwn) && x.scalar_type() == at::kFloat) return rotateRows<float>(x, cos, sin, inverse);
  if (isOneType && angles > 0 && (isShared || isOwn) && x.scalar_type() == at::kDouble) return rotateRows<double>(x, cos, sin, inverse);
  const at::ScalarType acc = accumulatorOf(x);
  const int64_t rotated = cos.size(-1);
  const at::Tensor turned = x.narrow(-1, 0, rotated).to(acc), rest = x.narrow(-1, rotated, x.size(-1) - rotated);
  const std::vector<at::Tensor> halves = turned.chunk(2, -1);
  const at::Tensor other = at::cat({halves[1].neg(), halves[0]}, -1);
  const at::Tensor s = sin.to(acc).unsqueeze(-2);  // [.., T, 1, R]
  const at::Tensor y = turned.mul(cos.to(acc).unsqueeze(-2)).add(other.mul(inverse ? s.neg() : s));
  return at::cat({y.to(x.scalar_type()), rest}, -1).contiguous();
}

at::Tensor attentionDecodeCpu(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                              const at::Tensor& lengths, double scale, int64_t window) {
  const at::ScalarType acc = accumulatorOf(queries);
  const int64_t batch = queries.size(0), heads = queries.size(1), groups = keys.size(1);
  std::vector<at::Tensor> mixed;
  for (int64_t b = 0; b < batch; b++) {
    const int64_t end = lengths.select(0, b).item<int64_t>();
    const int64_t begin = window > 0 ? std::max<int64_t>(0, end - window) : 0;
    const at::Tensor k = keys.select(0, b).narrow(1, begin, end - begin).to(acc);    // [G, s, D]
    const at::Tensor v = values.select(0, b).narrow(1, begin, end - begin).to(acc);  // [G, s, E]
    const at::Tensor q = queries.select(0, b).to(acc).view({groups, heads / groups, -1});
    mixed.push_back(at::softmax(q.matmul(k.transpose(1, 2)).mul(scale), -1).matmul(v).view({heads, -1}));
  }
  return batch == 0 ? values.new_empty({0, heads, values.size(3)}) : at::stack(mixed).to(values.scalar_type());
}

}  // namespace

TORCH_LIBRARY_IMPL(switchyard, CPU, library) {
  library.impl("rotate_forward", &rotateCpu);
  library.impl("attention_decode", &attentionDecodeCpu);
}

}  // namespace switchyard

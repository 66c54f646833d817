// The CPU's leaves: the obvious way, in any floating type.

#include <ATen/Functions.h>
#include <torch/library.h>

#include <algorithm>

#include "../common/accumulator.h"

namespace switchyard {
namespace {

at::Tensor rotateCpu(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
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

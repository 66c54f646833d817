// Shapes: N tokens, D model, V vocabulary, C tokens per chunk.

#include <ATen/Functions.h>

#include <algorithm>

#include "../common/accumulator.h"
#include "leaves.h"
#include "linear_cross_entropy.h"

namespace switchyard {

int64_t rowsOfChunk(const at::Tensor& weight) {
  constexpr int64_t kChunkBytes = int64_t(1) << 29;
  return std::max<int64_t>(1, kChunkBytes / (weight.size(0) * weight.element_size()));
}

ChunkedCrossEntropy chunkedCrossEntropy(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                        int64_t ignored, int64_t rows, bool withGradients) {
  TORCH_CHECK(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1), "weight ", weight.sizes(),
              " does not fit hidden ", hidden.sizes());
  const int64_t tokens = hidden.size(0);
  const auto acc = hidden.options().dtype(accumulatorOf(hidden));
  ChunkedCrossEntropy result;
  result.share = targets.ne(ignored).sum().to(acc).reciprocal();
  at::Tensor losses = at::empty({tokens}, acc);
  if (withGradients) {
    result.dHidden = at::empty_like(hidden);
    result.dWeight = at::zeros(weight.sizes(), acc);
  }
  for (int64_t begin = 0; begin < tokens; begin += rows) {
    const int64_t count = std::min(rows, tokens - begin);
    const at::Tensor h = hidden.narrow(0, begin, count);  // [C, D]
    const at::Tensor logits = h.matmul(weight.t());       // [C, V]
    losses.narrow(0, begin, count).copy_(leaf::crossEntropy(logits, targets.narrow(0, begin, count), ignored));
    if (!withGradients) continue;
    at::Tensor dH = result.dHidden.narrow(0, begin, count);
    at::mm_out(dH, logits, weight);
    result.dWeight.add_(at::mm(logits.t(), h));
  }
  result.loss = losses.sum().mul(result.share);
  return result;
}

}  // namespace switchyard

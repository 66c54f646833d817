// The CPU's leaves: the obvious way, in any floating type.

#include <ATen/Functions.h>
#include <torch/library.h>

#include "../common/accumulator.h"

namespace switchyard {
namespace {

at::Tensor crossEntropyCpu(at::Tensor logits, const at::Tensor& targets, int64_t ignored) {
  const at::ScalarType acc = accumulatorOf(logits);
  const at::Tensor counts = targets.ne(ignored);
  const at::Tensor target = targets.masked_fill(counts.logical_not(), 0).unsqueeze(1);
  const at::Tensor logProbs = at::log_softmax(logits.to(acc), 1);
  const at::Tensor losses = logProbs.gather(1, target).squeeze(1).neg().mul(counts);
  at::Tensor gradient = logProbs.exp();
  gradient.scatter_add_(1, target, at::full_like(target, -1, gradient.options()));
  logits.copy_(gradient.mul(counts.unsqueeze(1)));
  return losses;
}

}  // namespace

TORCH_LIBRARY_IMPL(switchyard, CPU, library) {
  library.impl("cross_entropy_", &crossEntropyCpu);
}

}  // namespace switchyard

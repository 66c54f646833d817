// The CPU's leaves are its kernels.

#include <torch/library.h>

#include "../common/leaf.h"
#include "routing.h"

namespace switchyard {
namespace {

Three routeForwardCpu(const at::Tensor& logits, int64_t k, bool normalize) {
  const Routed routed = routeForward(logits, k, normalize);
  return {routed.weights, routed.indices, routed.probs};
}

at::Tensor routeBackwardCpu(const OptionalTensor& dWeights, const OptionalTensor& dProbs, const at::Tensor& weights,
                            const at::Tensor& indices, const at::Tensor& probs, bool normalize) {
  return routeBackward(dWeights.value_or(at::Tensor()), dProbs.value_or(at::Tensor()), {weights, indices, probs},
                       normalize);
}

}  // namespace

TORCH_LIBRARY_IMPL(switchyard, CPU, library) {
  library.impl("route_forward", &routeForwardCpu);
  library.impl("route_backward", &routeBackwardCpu);
}

}  // namespace switchyard

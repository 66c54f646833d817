#include "leaves.h"

#include <torch/library.h>

#include "../common/leaf.h"

namespace switchyard {
namespace leaf {

Routed route(const at::Tensor& logits, int64_t k, bool normalize) {
  static const auto op = find<Three(const at::Tensor&, int64_t, bool)>("switchyard::route_forward");
  const auto [weights, indices, probs] = op.call(logits, k, normalize);
  return {weights, indices, probs};
}

at::Tensor routeBackward(const at::Tensor& dWeights, const at::Tensor& dProbs, const Routed& routed, bool normalize) {
  static const auto op =
      find<at::Tensor(const OptionalTensor&, const OptionalTensor&, const at::Tensor&, const at::Tensor&,
                      const at::Tensor&, bool)>("switchyard::route_backward");
  return op.call(given(dWeights), given(dProbs), routed.weights, routed.indices, routed.probs, normalize);
}

}  // namespace leaf

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def(
      "route_forward(Tensor logits, int k, bool normalize) -> (Tensor weights, Tensor indices, Tensor probs)");
  library.def(
      "route_backward(Tensor? d_weights, Tensor? d_probs, Tensor weights, Tensor indices, Tensor probs, "
      "bool normalize) -> Tensor");
}

}  // namespace switchyard

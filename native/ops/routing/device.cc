// The router's operators on the device. Shapes as in leaves.h.

#include <ATen/ops/empty.h>

#include "../common/device_operators.h"
#include "../common/leaf.h"
#include "routing_launch.h"

namespace switchyard::cuda {
namespace {

Three routeForward(const at::Tensor& logits, int64_t k, bool normalize) {
  requireDimensions(logits, 2, "logits");
  const int64_t tokens = logits.size(0), experts = logits.size(1);
  require(logits, logits, {"logits", at::kFloat, {tokens, experts}});
  TORCH_CHECK(experts <= 1024, "logits must be of at most 1024 experts, got ", experts);
  TORCH_CHECK(k >= 1 && k <= experts, "k must be in 1..", experts, ", got ", k);
  const OnDevice device(logits);
  const at::Tensor packed = logits.contiguous();
  at::Tensor weights = at::empty({tokens, k}, logits.options()), probs = at::empty(logits.sizes(), logits.options());
  at::Tensor indices = at::empty({tokens, k}, optionsOf(logits, at::kLong));
  launchRoute({packed.data_ptr<float>(), weights.data_ptr<float>(), indices.data_ptr<int64_t>(),
               probs.data_ptr<float>(), tokens, static_cast<int>(experts), static_cast<int>(k), normalize},
              device.stream());
  return {weights, indices, probs};
}

at::Tensor routeBackward(const OptionalTensor& dWeights, const OptionalTensor& dProbs, const at::Tensor& weights,
                         const at::Tensor& indices, const at::Tensor& probs, bool normalize) {
  requireDimensions(probs, 2, "probs");
  requireDimensions(indices, 2, "indices");
  const int64_t tokens = probs.size(0), experts = probs.size(1), k = indices.size(1);
  require(probs, probs, {"probs", at::kFloat, {tokens, experts}});
  require(weights, probs, {"weights", at::kFloat, {tokens, k}});
  require(indices, probs, {"indices", at::kLong, {tokens, k}});
  const auto gradient = [&](const OptionalTensor& given, const char* name, const at::Tensor& of) {
    if (!given.has_value()) return at::Tensor();
    require(*given, probs, {name, at::kFloat, of.sizes().vec()});
    return given->contiguous();
  };
  const OnDevice device(probs);
  const at::Tensor packedWeights = gradient(dWeights, "d_weights", weights), packedProbs = gradient(dProbs, "d_probs", probs);
  const at::Tensor w = weights.contiguous(), chosen = indices.contiguous(), p = probs.contiguous();
  at::Tensor dLogits = at::empty(probs.sizes(), probs.options());
  launchRouteBackward({dataOrNull<float>(packedWeights), dataOrNull<float>(packedProbs), w.data_ptr<float>(),
                       chosen.data_ptr<int64_t>(), p.data_ptr<float>(), dLogits.data_ptr<float>(), tokens,
                       static_cast<int>(experts), static_cast<int>(k), normalize},
                      device.stream());
  return dLogits;
}

}  // namespace

SWITCHYARD_DEVICE_OPERATORS(library) {
  library.impl("route_forward", &routeForward);
  library.impl("route_backward", &routeBackward);
}

}  // namespace switchyard::cuda

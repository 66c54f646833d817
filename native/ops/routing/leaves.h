// The router's leaves (common/leaf.h). Shapes: T tokens, E experts.
#pragma once

#include <ATen/core/Tensor.h>

#include "routing.h"

namespace switchyard::leaf {

/** `p = softmax(logits)`, the k largest, divided by their sum if `normalize`. acc [T, E] */
Routed route(const at::Tensor& logits, int64_t k, bool normalize);

/** The gradient of the logits, from those of weights and probs (either may be undefined). */
at::Tensor routeBackward(const at::Tensor& dWeights, const at::Tensor& dProbs, const Routed& routed, bool normalize);

}  // namespace switchyard::leaf

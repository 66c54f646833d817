// Softmax over experts and the choice of the k best, in one pass.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace switchyard {

struct Routed {
  at::Tensor weights;  // [T, K]
  at::Tensor indices;  // i64 [T, K], best first, ties to the lowest index
  at::Tensor probs;    // [T, E]
};

/** `p = softmax(logits)`, the k largest, divided by their sum if `normalize`. f32 or f64 [T, E], on the CPU. */
Routed routeForward(const at::Tensor& logits, int64_t k, bool normalize);

/** The gradient of the logits, from those of weights and probs (either may be undefined). */
at::Tensor routeBackward(const at::Tensor& dWeights, const at::Tensor& dProbs, const Routed& routed, bool normalize);

}  // namespace switchyard

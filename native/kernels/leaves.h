// The small operators that larger ones are composed of, called through the dispatcher: the CPU's are in leaves.cc, CUDA's in
// native/cuda. None waits for the device.
// Shapes: T tokens, K choices, E experts, N = T * K rows, D model, F expert width, W = 2F when gated, else F, V vocabulary.
// `acc` is the type of sums: f64 for f64, else f32.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <tuple>

#include "routing.h"

namespace switchyard {

/** The type that sums of `tensor`'s elements are taken in. */
inline at::ScalarType accumulatorOf(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

namespace leaf {

/** Slots sorted by expert, stable. */
struct Sorted {
  at::Tensor rowOfSlot;  // i32 [T, K], -1 where a slot is empty
  at::Tensor slotOfRow;  // i32 [N], -1 beyond the filled ones
  at::Tensor ends;       // i32 [E]: where the rows of each expert end
};

/** @param indices i64 [T, K], -1 for an empty slot */
Sorted sortSlots(const at::Tensor& indices, int64_t numExperts);

/** x [T, D] -> [N, D]: row `rowOfSlot[t, k]` is x[t]; zero beyond the filled rows. */
at::Tensor gatherRows(const at::Tensor& x, const at::Tensor& rowOfSlot, const at::Tensor& ends);

/** [N, D] -> [T, D]: `sum_k weights[t, k] rows[rowOfSlot[t, k]]`; undefined weights are 1. */
at::Tensor combineRows(const at::Tensor& rows, const at::Tensor& rowOfSlot, const at::Tensor& weights);

/** [N, W] -> [N, F]: `act(gate) up`, gate columns first, or `act(hidden)`; zero beyond the filled rows. */
at::Tensor activate(const at::Tensor& hidden, const at::Tensor& ends, const std::string& activation, bool gated);

struct ActivationGradients {
  at::Tensor hidden;    // [N, W]
  at::Tensor weighted;  // [N, F]: w a
  at::Tensor weights;   // acc [T, K]: <dActivated, a>, zero for empty slots
};

/** With `a` the activation and `w` the weight of a row's slot: gradients of what `w a` is made of, given dActivated. */
ActivationGradients activateBackward(const at::Tensor& dActivated, const at::Tensor& hidden, const at::Tensor& weights,
                                     const at::Tensor& slotOfRow, const at::Tensor& ends,
                                     const std::string& activation, bool gated);

/** Zeroes the matrices [E, ...] of experts without rows, which a grouped product may leave as they were. */
void zeroEmptyGroups(const at::Tensor& stack, const at::Tensor& ends);

/** All experts on few tokens, without sorting: the routing of a decoding step. As expertsForward(). */
at::Tensor expertsGemv(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& up,
                       const at::Tensor& down, const std::string& activation, bool gated);

/** `p = softmax(logits)`, the k largest, divided by their sum if `normalize`. acc [T, E] */
Routed route(const at::Tensor& logits, int64_t k, bool normalize);

/** The gradient of the logits, from those of weights and probs (either may be undefined). */
at::Tensor routeBackward(const at::Tensor& dWeights, const at::Tensor& dProbs, const Routed& routed, bool normalize);

/** `y = w x / sqrt(mean(x^2) + eps)` over the last dimension. Returns y and `1 / sqrt(mean(x^2) + eps)` per row. */
std::tuple<at::Tensor, at::Tensor> rmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

/** The gradients of x and weight. */
std::tuple<at::Tensor, at::Tensor> rmsNormBackward(const at::Tensor& dY, const at::Tensor& x, const at::Tensor& weight,
                                                   const at::Tensor& scale);

/** x [B, T, H, D] with its first R dimensions turned by angles, cos and sin f32 [T, R] or [B, T, R]; or turned back. */
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse);

/** Logits [C, V] become `softmax - onehot`, zero where the target is `ignored`. Returns the losses, acc [C]. */
at::Tensor crossEntropy(const at::Tensor& logits, const at::Tensor& targets, int64_t ignored);

}  // namespace leaf
}  // namespace switchyard

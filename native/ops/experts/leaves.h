// The experts' leaves (common/leaf.h).
// Shapes: T tokens, K choices, E experts, N = T * K rows, D model, F expert width, W = 2F when gated, else F.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace switchyard::leaf {

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

}  // namespace switchyard::leaf

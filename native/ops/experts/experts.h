// The experts of an MoE layer: gather, both projections, activation and weighted sum, forward and backward.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <tuple>

namespace switchyard {

/** Weights of all experts: `up` [E, 2F, D] (gate rows first) when gated, else [E, F, D]; `down` [E, D, F]. */
struct ExpertWeights {
  at::Tensor up;
  at::Tensor down;
  std::string activation;
  bool gated;
};

struct ExpertsOutput {
  at::Tensor y;       // [T, D]
  at::Tensor hidden;  // [N, 2F] or [N, F]: the up projection, which backward needs; undefined unless kept
};

struct ExpertsGradients {
  at::Tensor x;        // [T, D]
  at::Tensor weights;  // [T, K]
  at::Tensor up;       // undefined unless wanted
  at::Tensor down;     // the same
};

/** Which weights are trained: frozen ones are half of backward's products. */
struct TrainedExperts {
  bool up = true;
  bool down = true;
};

/**
 * `y_t = sum_k weights_tk expert_{indices_tk}(x_t)`; f32, f64 or bf16, on the CPU.
 *
 * @param x [T, D]
 * @param indices i64 [T, K], -1 for an empty slot
 * @param weights [T, K], f32 where x is bf16
 */
ExpertsOutput expertsForward(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights,
                             const ExpertWeights& experts, bool keepHidden);

ExpertsGradients expertsBackward(const at::Tensor& dY, const at::Tensor& x, const at::Tensor& indices,
                                 const at::Tensor& weights, const at::Tensor& hidden, const ExpertWeights& experts,
                                 TrainedExperts trained);

}  // namespace switchyard

// The experts of an MoE layer on any device, by grouped products.
#pragma once

#include "experts.h"
#include "leaves.h"

namespace switchyard {

struct GroupedOutput {
  at::Tensor y;       // [T, D]
  at::Tensor hidden;  // [N, W], which backward needs
  leaf::Sorted sorted;
};

/** As expertsForward(), in any floating type; weights are of the type that sums are taken in. */
GroupedOutput groupedExpertsForward(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights,
                                    const ExpertWeights& experts);

ExpertsGradients groupedExpertsBackward(const at::Tensor& dY, const at::Tensor& x, const at::Tensor& weights,
                                        const at::Tensor& hidden, const leaf::Sorted& sorted,
                                        const ExpertWeights& experts, TrainedExperts trained);

}  // namespace switchyard

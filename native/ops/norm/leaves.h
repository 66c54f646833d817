// The norm's leaves (common/leaf.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace switchyard::leaf {

/** `y = w x / sqrt(mean(x^2) + eps)` over the last dimension. Returns y and `1 / sqrt(mean(x^2) + eps)` per row. */
std::tuple<at::Tensor, at::Tensor> rmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

/** The gradients of x and weight. */
std::tuple<at::Tensor, at::Tensor> rmsNormBackward(const at::Tensor& dY, const at::Tensor& x, const at::Tensor& weight,
                                                   const at::Tensor& scale);

}  // namespace switchyard::leaf

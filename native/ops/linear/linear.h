// Linear layers on the CPU, in f32, f64 or bf16, by the library that gemm.h takes. Sums of bf16 products are f32.
#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/** `x W^T + b`: x [N, I], weight [O, I], bias [O] or undefined -> [N, O]. */
at::Tensor linearForward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

/** `dY W`: dY [N, O] -> [N, I]. */
at::Tensor linearInputGradient(const at::Tensor& dY, const at::Tensor& weight);

/** `dY^T x`: [O, I]. */
at::Tensor linearWeightGradient(const at::Tensor& dY, const at::Tensor& x);

}  // namespace switchyard

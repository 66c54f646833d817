// Products of f32 matrices in which every row is summed in one order, whatever other rows there are.
#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/** `y_b = x_b w_b` of f32 [B, N, I] and [B, I, O], which may be views of any strides: [B, N, O]. */
at::Tensor steadyProducts(const at::Tensor& x, const at::Tensor& w);

}  // namespace switchyard

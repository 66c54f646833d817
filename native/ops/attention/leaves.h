// The leaf of positions (common/leaf.h).
#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard::leaf {

/** x [B, T, H, D] with its first R dimensions turned by angles, cos and sin f32 [T, R] or [B, T, R]; or turned back. */
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse);

}  // namespace switchyard::leaf

// The type of sums, `acc` in comments: f64 for f64, else f32.
#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/** The type that sums of `tensor`'s elements are taken in. */
inline at::ScalarType accumulatorOf(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace switchyard

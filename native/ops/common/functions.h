// What the operators with autograd have in common. Each *_functions.cc defines some: torch.ops.switchyard in Python, callOperator() in
// TypeScript.
#pragma once

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>

#include "version.h"

namespace switchyard {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/** Whether the CPU's own kernels compute on this: they know f32 and f64. All else goes by leaves. */
inline bool hasOwnKernel(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
}

/** One type and device for all: `name` says what of. */
inline void requireAlike(const char* name, const at::Tensor& x, std::initializer_list<at::Tensor> others) {
  for (const at::Tensor& other : others) {
    TORCH_CHECK(other.scalar_type() == x.scalar_type() && other.device() == x.device(), name, " are ",
                other.scalar_type(), " on ", other.device(), ", the input is ", x.scalar_type(), " on ", x.device());
  }
}

/** Backward itself records nothing, so that a second derivative would silently lack its part. */
inline void refuseSecondDerivative() {
  TORCH_CHECK(!c10::GradMode::is_enabled(),
              "kernels have no second derivative: switch them off to use createGraph (SWITCHYARD_KERNELS=none)");
}

inline bool anyRequiresGrad(std::initializer_list<at::Tensor> tensors) {
  return c10::GradMode::is_enabled() &&
         std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& tensor) { return tensor.requires_grad(); });
}

/** What mixed precision on CUDA narrows to. */
inline at::ScalarType autocastType() {
#if SWITCHYARD_TORCH_AT_LEAST(2, 4)
  return at::autocast::get_autocast_dtype(at::kCUDA);
#else
  return at::autocast::get_autocast_gpu_dtype();
#endif
}

inline at::Tensor narrowed(const at::Tensor& tensor) {
  return at::autocast::cached_cast(autocastType(), tensor, c10::DeviceType::CUDA);
}

}  // namespace switchyard

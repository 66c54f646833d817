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

/** Whether the CPU's own kernels compute on this: they know f32, f64 and bf16. All else goes by leaves. */
inline bool hasOwnKernel(const at::Tensor& x) {
  return x.is_cpu() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble || x.scalar_type() == at::kBFloat16);
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

/** Mixed precision on a kind of device: what it narrows to, and the key under which operators do it. */
template <c10::DeviceType device>
struct Autocast {
  static constexpr c10::DispatchKey key =
      device == c10::DeviceType::CPU ? c10::DispatchKey::AutocastCPU : c10::DispatchKey::AutocastCUDA;

  static at::ScalarType type() {
#if SWITCHYARD_TORCH_AT_LEAST(2, 4)
    return at::autocast::get_autocast_dtype(device);
#else
    return device == c10::DeviceType::CPU ? at::autocast::get_autocast_cpu_dtype()
                                          : at::autocast::get_autocast_gpu_dtype();
#endif
  }

  static at::Tensor narrowed(const at::Tensor& tensor) { return at::autocast::cached_cast(type(), tensor, device); }
};

using AutocastCpu = Autocast<c10::DeviceType::CPU>;
using AutocastCuda = Autocast<c10::DeviceType::CUDA>;

}  // namespace switchyard

// What the torch side of the kernels shares: where operators register, the device and stream they run on, checks of arguments.
// The library of the emulation (SWITCHYARD_EMULATED) compiles the same operators for tensors on the CPU.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/library.h>

#include "dtypes.h"
#include "element.h"

#if defined(SWITCHYARD_EMULATED)
#include "emulation/library.h" // tests/cuda
#else
#include <cuda_runtime_api.h> // first: not all of libtorch's headers that need it include it

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#define SWITCHYARD_DEVICE_OPERATORS(library) TORCH_LIBRARY_IMPL(switchyard, CUDA, library)
#endif

namespace switchyard::cuda {

/** Makes a tensor's device the current one, while it lives. */
class OnDevice {
 public:
#if defined(SWITCHYARD_EMULATED)
  explicit OnDevice(const at::Tensor&) {}
  cudaStream_t stream() const { return nullptr; }
#else
  explicit OnDevice(const at::Tensor& tensor) : guard_(tensor.device()) {}
  cudaStream_t stream() const { return c10::cuda::getCurrentCUDAStream(guard_.current_device().index()).stream(); }

 private:
  c10::cuda::CUDAGuard guard_;
#endif
};

/** The kernels' name of a tensor's type. Throws c10::Error, with the argument's name, for one that they do not have. */
inline Element elementOf(const at::Tensor& tensor, const char* name) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return Element::F32;
    case at::kHalf:
      return Element::F16;
    case at::kBFloat16:
      return Element::BF16;
    default:
      TORCH_CHECK(false, name, " must be f32, f16 or bf16 on this device, got ", dtypeName(tensor.scalar_type()));
  }
}

/** What an argument has to be. */
struct Wanted {
  const char* name;
  at::ScalarType type;
  std::vector<int64_t> sizes;
};

/** Throws c10::Error unless `tensor` is what is wanted, on the device of `other`. */
inline void require(const at::Tensor& tensor, const at::Tensor& other, const Wanted& wanted) {
  const bool fits = tensor.scalar_type() == wanted.type && tensor.sizes() == at::IntArrayRef(wanted.sizes) &&
                    tensor.device() == other.device();
  TORCH_CHECK(fits, wanted.name, " must be ", dtypeName(wanted.type), " ", at::IntArrayRef(wanted.sizes), " on ",
              other.device(), ", got ", dtypeName(tensor.scalar_type()), " ", tensor.sizes(), " on ", tensor.device());
}

/** Throws c10::Error unless `tensor` has `dimensions` dimensions. */
inline void requireDimensions(const at::Tensor& tensor, int64_t dimensions, const char* name) {
  TORCH_CHECK(tensor.dim() == dimensions, name, " must have ", dimensions, " dimensions, got ", tensor.sizes());
}

/** Throws c10::Error unless `tensor`, which is written in place, is contiguous; then autograd learns of the writing. */
inline void beginWriting(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK(tensor.is_contiguous(), name, " must be contiguous, since it is changed in place");
  if (!tensor.is_inference()) tensor.unsafeGetTensorImpl()->bump_version();
}

inline at::TensorOptions optionsOf(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.options().dtype(type);
}

template <typename T>
T* dataOrNull(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr<T>() : nullptr;
}

}  // namespace switchyard::cuda

// Leaves: the small operators that larger ones are composed of, called through the dispatcher, which chooses the CPU's form
// (leaves_cpu.cc of each part) or CUDA's (device.cc). None waits for the device.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <tuple>

namespace switchyard {

using OptionalTensor = c10::optional<at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

namespace leaf {

/** An operator as a typed function; `static` at the caller, since the look-up takes a lock. */
template <typename Signature>
c10::TypedOperatorHandle<Signature> find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

inline OptionalTensor given(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : OptionalTensor();
}

}  // namespace leaf
}  // namespace switchyard

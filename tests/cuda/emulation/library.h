// Where emulated operators register: every operator that has a device implementation gets a twin in a namespace of its own,
// with the schema of the operator that it stands for.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <string>

namespace emulation {

/** As much of torch::Library as device implementations use. */
class Library {
 public:
  explicit Library(torch::Library& library) : library_(library) {}

  template <typename Kernel>
  void impl(const char* name, Kernel* kernel) {
    const auto original = c10::Dispatcher::singleton().findSchemaOrThrow((std::string("switchyard::") + name).c_str(), "");
    library_.def(original.schema().cloneWithName(std::string("switchyard_emulated::") + name, ""));
    library_.impl(name, torch::dispatch(at::kCPU, kernel));
  }

 private:
  torch::Library& library_;
};

}  // namespace emulation

#define SWITCHYARD_DEVICE_OPERATORS(library)                   \
  static void registerOperators(emulation::Library& library);  \
  TORCH_LIBRARY_FRAGMENT(switchyard_emulated, fragment) {      \
    emulation::Library emulated(fragment);                     \
    registerOperators(emulated);                               \
  }                                                            \
  static void registerOperators(emulation::Library& library)

// The namespace of the emulated operators: each has the schema of the operator that it stands for.

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include "machine.h"

namespace {

void setThreadOrder(int64_t order) {
  TORCH_CHECK(order >= 0 && order <= 2, "order must be 0 (forward), 1 (backward) or 2 (shuffled), got ", order);
  emulation::setOrder(static_cast<emulation::Order>(order));
}

}  // namespace

TORCH_LIBRARY(switchyard_emulated, library) {
  for (const char* name :
       {"sort_slots", "gather_rows", "combine_rows", "zero_empty_groups_", "activate", "activate_backward",
        "experts_gemv", "route_forward", "route_backward", "rms_norm_forward", "rms_norm_backward", "rotate_forward",
        "attention_decode", "cross_entropy_", "adamw_mixed_", "gradient_norm"}) {
    const auto original = c10::Dispatcher::singleton().findSchemaOrThrow((std::string("switchyard::") + name).c_str(), "");
    library.def(original.schema().cloneWithName(std::string("switchyard_emulated::") + name, ""));
  }
  library.def("thread_order(int order) -> ()", &setThreadOrder);
}

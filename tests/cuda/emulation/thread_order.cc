// Which of a block's threads goes first, as an operator.

#include <torch/library.h>

#include "machine.h"

namespace {

void setThreadOrder(int64_t order) {
  TORCH_CHECK(order >= 0 && order <= 2, "order must be 0 (forward), 1 (backward) or 2 (shuffled), got ", order);
  emulation::setOrder(static_cast<emulation::Order>(order));
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard_emulated, library) {
  library.def("thread_order(int order) -> ()", &setThreadOrder);
}

#include "leaves.h"

#include <torch/library.h>

#include <string>

#include "../common/leaf.h"

namespace switchyard {
namespace leaf {

Sorted sortSlots(const at::Tensor& indices, int64_t numExperts) {
  static const auto op = find<Three(const at::Tensor&, int64_t)>("switchyard::sort_slots");
  const auto [rowOfSlot, slotOfRow, ends] = op.call(indices, numExperts);
  return {rowOfSlot, slotOfRow, ends};
}

at::Tensor gatherRows(const at::Tensor& x, const at::Tensor& rowOfSlot, const at::Tensor& ends) {
  static const auto op =
      find<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&)>("switchyard::gather_rows");
  return op.call(x, rowOfSlot, ends);
}

at::Tensor combineRows(const at::Tensor& rows, const at::Tensor& rowOfSlot, const at::Tensor& weights) {
  static const auto op =
      find<at::Tensor(const at::Tensor&, const at::Tensor&, const OptionalTensor&)>("switchyard::combine_rows");
  return op.call(rows, rowOfSlot, given(weights));
}

at::Tensor activate(const at::Tensor& hidden, const at::Tensor& ends, const std::string& activation, bool gated) {
  static const auto op =
      find<at::Tensor(const at::Tensor&, const at::Tensor&, std::string, bool)>("switchyard::activate");
  return op.call(hidden, ends, activation, gated);
}

ActivationGradients activateBackward(const at::Tensor& dActivated, const at::Tensor& hidden, const at::Tensor& weights,
                                     const at::Tensor& slotOfRow, const at::Tensor& ends,
                                     const std::string& activation, bool gated) {
  static const auto op = find<Three(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                    const at::Tensor&, std::string, bool)>("switchyard::activate_backward");
  const auto [dHidden, weighted, dWeights] =
      op.call(dActivated, hidden, weights, slotOfRow, ends, activation, gated);
  return {dHidden, weighted, dWeights};
}

void zeroEmptyGroups(const at::Tensor& stack, const at::Tensor& ends) {
  static const auto op = find<void(at::Tensor, const at::Tensor&)>("switchyard::zero_empty_groups_");
  op.call(stack, ends);
}

at::Tensor expertsGemv(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& up,
                       const at::Tensor& down, const std::string& activation, bool gated) {
  static const auto op = find<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                         const at::Tensor&, std::string, bool)>("switchyard::experts_gemv");
  return op.call(x, indices, weights, up, down, activation, gated);
}

}  // namespace leaf

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("sort_slots(Tensor indices, int num_experts) -> (Tensor row_of_slot, Tensor slot_of_row, Tensor ends)");
  library.def("gather_rows(Tensor x, Tensor row_of_slot, Tensor ends) -> Tensor");
  library.def("combine_rows(Tensor rows, Tensor row_of_slot, Tensor? weights=None) -> Tensor");
  library.def("activate(Tensor hidden, Tensor ends, str activation, bool gated) -> Tensor");
  library.def(
      "activate_backward(Tensor d_activated, Tensor hidden, Tensor weights, Tensor slot_of_row, Tensor ends, "
      "str activation, bool gated) -> (Tensor d_hidden, Tensor weighted, Tensor d_weights)");
  library.def("zero_empty_groups_(Tensor(a!) stack, Tensor ends) -> ()");
  library.def(
      "experts_gemv(Tensor x, Tensor indices, Tensor weights, Tensor up, Tensor down, str activation, bool gated) "
      "-> Tensor");
}

}  // namespace switchyard

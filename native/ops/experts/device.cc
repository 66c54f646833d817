// The experts' operators on the device. Shapes as in leaves.h.

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "../common/device_operators.h"
#include "../common/leaf.h"
#include "activation_launch.h"
#include "experts_gemv_launch.h"
#include "rows_launch.h"
#include "sort_slots_launch.h"

namespace switchyard::cuda {
namespace {

Three sortSlots(const at::Tensor& indices, int64_t numExperts) {
  requireDimensions(indices, 2, "indices");
  require(indices, indices, {"indices", at::kLong, indices.sizes().vec()});
  TORCH_CHECK(numExperts >= 1 && numExperts <= kMostExperts, "num_experts must be in 1..", kMostExperts, ", got ",
              numExperts);
  TORCH_CHECK(indices.numel() <= INT32_MAX, "indices have too many slots: ", indices.numel());
  const OnDevice device(indices);
  const at::Tensor packed = indices.contiguous();
  const at::TensorOptions integers = optionsOf(indices, at::kInt);
  const int64_t slots = indices.numel();
  at::Tensor rowOfSlot = at::empty(indices.sizes(), integers), slotOfRow = at::empty({slots}, integers);
  at::Tensor ends = at::empty({numExperts}, integers), counts = at::empty({sortTiles(slots), numExperts}, integers);
  launchSortSlots({packed.data_ptr<int64_t>(), rowOfSlot.data_ptr<int32_t>(), slotOfRow.data_ptr<int32_t>(),
                   ends.data_ptr<int32_t>(), counts.data_ptr<int32_t>(), slots, numExperts},
                  device.stream());
  return {rowOfSlot, slotOfRow, ends};
}

at::Tensor gatherRows(const at::Tensor& x, const at::Tensor& rowOfSlot, const at::Tensor& ends) {
  requireDimensions(x, 2, "x");
  requireDimensions(rowOfSlot, 2, "row_of_slot");
  const int64_t tokens = x.size(0), choices = rowOfSlot.size(1), width = x.size(1);
  require(rowOfSlot, x, {"row_of_slot", at::kInt, {tokens, choices}});
  requireDimensions(ends, 1, "ends");
  require(ends, x, {"ends", at::kInt, {std::max<int64_t>(1, ends.numel())}});
  const OnDevice device(x);
  const at::Tensor from = x.contiguous(), places = rowOfSlot.contiguous(), packed = ends.contiguous();
  at::Tensor rows = at::empty({tokens * choices, width}, x.options());
  launchGatherRows({elementOf(x, "x"), from.data_ptr(), places.data_ptr<int32_t>(),
                    packed.data_ptr<int32_t>() + ends.numel() - 1, rows.data_ptr(), tokens, choices, width},
                   device.stream());
  return rows;
}

at::Tensor combineRows(const at::Tensor& rows, const at::Tensor& rowOfSlot, const OptionalTensor& weights) {
  requireDimensions(rows, 2, "rows");
  requireDimensions(rowOfSlot, 2, "row_of_slot");
  const int64_t tokens = rowOfSlot.size(0), choices = rowOfSlot.size(1), width = rows.size(1);
  require(rowOfSlot, rows, {"row_of_slot", at::kInt, {tokens, choices}});
  if (weights.has_value()) require(*weights, rows, {"weights", at::kFloat, {tokens, choices}});
  const OnDevice device(rows);
  const at::Tensor from = rows.contiguous(), places = rowOfSlot.contiguous();
  const at::Tensor shares = weights.has_value() ? weights->contiguous() : at::Tensor();
  at::Tensor y = at::empty({tokens, width}, rows.options());
  launchCombineRows({elementOf(rows, "rows"), from.data_ptr(), places.data_ptr<int32_t>(), dataOrNull<float>(shares),
                     y.data_ptr(), tokens, choices, width},
                    device.stream());
  return y;
}

void zeroEmptyGroups(at::Tensor stack, const at::Tensor& ends) {
  TORCH_CHECK(stack.dim() >= 1, "stack must have a dimension of experts");
  require(ends, stack, {"ends", at::kInt, {stack.size(0)}});
  if (stack.numel() == 0) return;
  elementOf(stack, "stack");
  const OnDevice device(stack);
  const at::Tensor packed = ends.contiguous();
  beginWriting(stack, "stack");
  const int64_t bytes = stack.numel() / stack.size(0) * stack.element_size();
  launchZeroEmptyGroups({stack.data_ptr(), packed.data_ptr<int32_t>(), stack.size(0), bytes}, device.stream());
}

/** What both directions of the activation are told. The tensors must outlive it. */
Activate activateArguments(const at::Tensor& hidden, const at::Tensor& ends, const std::string& activation, bool gated) {
  return {elementOf(hidden, "hidden"), hidden.data_ptr(), ends.data_ptr<int32_t>(), nullptr, parseActivation(activation),
          gated, hidden.size(0), hidden.size(1) / (gated ? 2 : 1), ends.size(0)};
}

void checkHidden(const at::Tensor& hidden, const at::Tensor& ends, bool gated) {
  requireDimensions(hidden, 2, "hidden");
  TORCH_CHECK(!gated || hidden.size(1) % 2 == 0, "hidden has an odd width, ", hidden.size(1), ", for gated experts");
  TORCH_CHECK(ends.dim() == 1 && ends.size(0) >= 1, "ends must be [E], got ", ends.sizes());
  require(ends, hidden, {"ends", at::kInt, {ends.size(0)}});
}

at::Tensor activate(const at::Tensor& hidden, const at::Tensor& ends, std::string activation, bool gated) {
  checkHidden(hidden, ends, gated);
  const OnDevice device(hidden);
  const at::Tensor rows = hidden.contiguous(), packedEnds = ends.contiguous();
  Activate arguments = activateArguments(rows, packedEnds, activation, gated);
  at::Tensor activated = at::empty({arguments.rows, arguments.width}, hidden.options());
  arguments.activated = activated.data_ptr();
  launchActivate(arguments, device.stream());
  return activated;
}

Three activateBackward(const at::Tensor& dActivated, const at::Tensor& hidden, const at::Tensor& weights,
                       const at::Tensor& slotOfRow, const at::Tensor& ends, std::string activation, bool gated) {
  checkHidden(hidden, ends, gated);
  const at::Tensor rows = hidden.contiguous(), packedEnds = ends.contiguous();
  Activate forward = activateArguments(rows, packedEnds, activation, gated);
  require(dActivated, hidden, {"d_activated", hidden.scalar_type(), {forward.rows, forward.width}});
  require(weights, hidden, {"weights", at::kFloat, weights.sizes().vec()});
  require(slotOfRow, hidden, {"slot_of_row", at::kInt, {forward.rows}});
  TORCH_CHECK(weights.numel() == forward.rows, "weights ", weights.sizes(), " do not fit ", forward.rows, " rows");
  const OnDevice device(hidden);
  const at::Tensor gradient = dActivated.contiguous(), shares = weights.contiguous(), slots = slotOfRow.contiguous();
  at::Tensor weighted = at::empty({forward.rows, forward.width}, hidden.options());
  at::Tensor dHidden = at::empty(hidden.sizes(), hidden.options());
  at::Tensor dWeights = at::zeros(weights.sizes(), weights.options());
  forward.activated = weighted.data_ptr();
  launchActivateBackward({forward, gradient.data_ptr(), shares.data_ptr<float>(), slots.data_ptr<int32_t>(),
                          dHidden.data_ptr(), dWeights.data_ptr<float>()},
                         device.stream());
  return {dHidden, weighted, dWeights};
}

at::Tensor expertsGemv(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& up,
                       const at::Tensor& down, std::string activation, bool gated) {
  requireDimensions(x, 2, "x");
  requireDimensions(indices, 2, "indices");
  requireDimensions(down, 3, "down");
  const int64_t tokens = x.size(0), model = x.size(1), choices = indices.size(1);
  const int64_t experts = down.size(0), width = down.size(2);
  require(indices, x, {"indices", at::kLong, {tokens, choices}});
  require(weights, x, {"weights", at::kFloat, {tokens, choices}});
  require(up, x, {"up", x.scalar_type(), {experts, width * (gated ? 2 : 1), model}});
  require(down, x, {"down", x.scalar_type(), {experts, model, width}});
  const OnDevice device(x);
  const at::Tensor from = x.contiguous(), chosen = indices.contiguous(), shares = weights.contiguous();
  const at::Tensor packedUp = up.contiguous(), packedDown = down.contiguous();
  at::Tensor activated = at::empty({tokens, choices, width}, optionsOf(x, at::kFloat));
  at::Tensor y = at::empty(x.sizes(), x.options());
  launchExpertsGemv({elementOf(x, "x"), from.data_ptr(), chosen.data_ptr<int64_t>(), shares.data_ptr<float>(),
                     packedUp.data_ptr(), packedDown.data_ptr(), activated.data_ptr<float>(), y.data_ptr(),
                     parseActivation(activation), gated, tokens, choices, experts, model, width},
                    device.stream());
  return y;
}

}  // namespace

SWITCHYARD_DEVICE_OPERATORS(library) {
  library.impl("sort_slots", &sortSlots);
  library.impl("gather_rows", &gatherRows);
  library.impl("combine_rows", &combineRows);
  library.impl("zero_empty_groups_", &zeroEmptyGroups);
  library.impl("activate", &activate);
  library.impl("activate_backward", &activateBackward);
  library.impl("experts_gemv", &expertsGemv);
}

}  // namespace switchyard::cuda

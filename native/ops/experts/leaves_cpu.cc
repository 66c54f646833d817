// The CPU's leaves: the obvious way, in any floating type. Training on a CPU does not come here but for half precision; what
// CUDA computes is tested against this.

#include <ATen/Functions.h>
#include <torch/library.h>

#include <algorithm>

#include "../common/accumulator.h"
#include "../common/leaf.h"
#include "activation.h"
#include "experts.h"
#include "slots.h"

namespace switchyard {
namespace {

int64_t filledRows(const at::Tensor& ends) { return ends.numel() == 0 ? 0 : ends.select(0, -1).item<int64_t>(); }

/** `filled` rows with as many zero rows after them as there are to be, in another type. */
at::Tensor padded(const at::Tensor& filled, int64_t rows, at::ScalarType type) {
  std::vector<int64_t> sizes = filled.sizes().vec();
  sizes[0] = rows;
  at::Tensor all = at::zeros(sizes, filled.options().dtype(type));
  all.narrow(0, 0, filled.size(0)).copy_(filled);
  return all;
}

at::Tensor activated(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::Silu:
      return at::silu(x);
    case Activation::Gelu:
      return at::gelu(x);
    case Activation::GeluTanh:
      return at::gelu(x, "tanh");
    case Activation::Relu:
      return at::relu(x);
  }
  return x;
}

at::Tensor activationGradient(const at::Tensor& gradient, const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::Silu:
      return at::silu_backward(gradient, x);
    case Activation::Gelu:
      return at::gelu_backward(gradient, x);
    case Activation::GeluTanh:
      return at::gelu_backward(gradient, x, "tanh");
    case Activation::Relu:
      return at::threshold_backward(gradient, x, 0);
  }
  return gradient;
}

Three sortSlotsCpu(const at::Tensor& indices, int64_t numExperts) {
  const SortedSlots sorted = sortSlots(indices, numExperts);
  const auto integers = at::TensorOptions(at::kInt);
  const at::Tensor rowOfSlot = at::empty(indices.sizes(), integers);
  const at::Tensor slotOfRow = at::full({indices.numel()}, -1, integers);
  const at::Tensor ends = at::empty({numExperts}, integers);
  std::copy(sorted.rowOfSlot.begin(), sorted.rowOfSlot.end(), rowOfSlot.data_ptr<int32_t>());
  std::copy(sorted.slotOfRow.begin(), sorted.slotOfRow.end(), slotOfRow.data_ptr<int32_t>());
  std::copy(sorted.offsets.begin() + 1, sorted.offsets.end(), ends.data_ptr<int32_t>());
  return {rowOfSlot, slotOfRow, ends};
}

at::Tensor gatherRowsCpu(const at::Tensor& x, const at::Tensor& rowOfSlot, const at::Tensor& ends) {
  const int64_t choices = rowOfSlot.size(1);
  const at::Tensor rows = rowOfSlot.flatten().to(at::kLong);
  const at::Tensor slots = rows.ge(0).nonzero().flatten();
  const at::Tensor tokens = slots.div(choices, "floor");
  return at::zeros({rows.numel(), x.size(1)}, x.options())
      .index_copy_(0, rows.index_select(0, slots), x.index_select(0, tokens));
}

at::Tensor combineRowsCpu(const at::Tensor& rows, const at::Tensor& rowOfSlot, const OptionalTensor& weights) {
  const at::ScalarType acc = accumulatorOf(rows);
  at::Tensor sum = at::zeros({rowOfSlot.size(0), rows.size(1)}, rows.options().dtype(acc));
  for (int64_t k = 0; k < rowOfSlot.size(1); k++) {
    const at::Tensor row = rowOfSlot.select(1, k).to(at::kLong);
    const at::Tensor filled = row.ge(0).nonzero().flatten();
    at::Tensor terms = rows.index_select(0, row.index_select(0, filled)).to(acc);
    if (weights.has_value()) terms = terms.mul(weights->select(1, k).index_select(0, filled).to(acc).unsqueeze(1));
    sum.index_add_(0, filled, terms);
  }
  return sum.to(rows.scalar_type());
}

at::Tensor activateCpu(const at::Tensor& hidden, const at::Tensor& ends, std::string activation, bool gated) {
  const Activation kind = parseActivation(activation);
  const at::Tensor filled = hidden.narrow(0, 0, filledRows(ends)).to(accumulatorOf(hidden));
  const std::vector<at::Tensor> halves = gated ? filled.chunk(2, 1) : std::vector<at::Tensor>{filled};
  const at::Tensor a = activated(halves[0], kind);
  return padded(gated ? a.mul(halves[1]) : a, hidden.size(0), hidden.scalar_type());
}

Three activateBackwardCpu(const at::Tensor& dActivated, const at::Tensor& hidden, const at::Tensor& weights,
                          const at::Tensor& slotOfRow, const at::Tensor& ends, std::string activation, bool gated) {
  const Activation kind = parseActivation(activation);
  const at::ScalarType acc = accumulatorOf(hidden), type = hidden.scalar_type();
  const int64_t filled = filledRows(ends), rows = hidden.size(0);
  const at::Tensor slots = slotOfRow.narrow(0, 0, filled).to(at::kLong);
  const at::Tensor gradient = dActivated.narrow(0, 0, filled).to(acc), h = hidden.narrow(0, 0, filled).to(acc);
  const at::Tensor w = weights.to(acc).flatten().index_select(0, slots).unsqueeze(1);  // [n, 1]
  const std::vector<at::Tensor> halves = gated ? h.chunk(2, 1) : std::vector<at::Tensor>{h};
  const at::Tensor value = activated(halves[0], kind);  // [n, F]
  const at::Tensor a = gated ? value.mul(halves[1]) : value;
  const at::Tensor d = gradient.mul(w);
  const at::Tensor dHidden =
      gated ? at::cat({activationGradient(d.mul(halves[1]), halves[0], kind), d.mul(value)}, 1)
            : activationGradient(d, h, kind);
  const at::Tensor dWeights =
      at::zeros({weights.numel()}, h.options()).index_copy_(0, slots, gradient.mul(a).sum(1)).view(weights.sizes());
  return {padded(dHidden, rows, type), padded(a.mul(w), rows, type), dWeights};
}

void zeroEmptyGroupsCpu(at::Tensor stack, const at::Tensor& ends) {
  const auto* end = ends.data_ptr<int32_t>();
  for (int64_t e = 0; e < ends.numel(); e++) {
    if (end[e] == (e == 0 ? 0 : end[e - 1])) stack.select(0, e).zero_();
  }
}

at::Tensor expertsGemvCpu(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights,
                          const at::Tensor& up, const at::Tensor& down, std::string activation, bool gated) {
  const at::ScalarType acc = accumulatorOf(x);
  const ExpertWeights experts{up.to(acc), down.to(acc), activation, gated};
  return expertsForward(x.to(acc), indices, weights.to(acc), experts, false).y.to(x.scalar_type());
}

}  // namespace

TORCH_LIBRARY_IMPL(switchyard, CPU, library) {
  library.impl("sort_slots", &sortSlotsCpu);
  library.impl("gather_rows", &gatherRowsCpu);
  library.impl("combine_rows", &combineRowsCpu);
  library.impl("activate", &activateCpu);
  library.impl("activate_backward", &activateBackwardCpu);
  library.impl("zero_empty_groups_", &zeroEmptyGroupsCpu);
  library.impl("experts_gemv", &expertsGemvCpu);
}

}  // namespace switchyard

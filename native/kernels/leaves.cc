// The schemas of the leaves, and their typed callers.

#include "leaves.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

namespace switchyard {
namespace {

using OptionalTensor = c10::optional<at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

/** An operator as a typed function; `static` at the caller, since the look-up takes a lock. */
template <typename Signature>
c10::TypedOperatorHandle<Signature> find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

OptionalTensor given(const at::Tensor& tensor) {
  return tensor.defined() ? OptionalTensor(tensor) : OptionalTensor();
}

}  // namespace

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

Routed route(const at::Tensor& logits, int64_t k, bool normalize) {
  static const auto op = find<Three(const at::Tensor&, int64_t, bool)>("switchyard::route_forward");
  const auto [weights, indices, probs] = op.call(logits, k, normalize);
  return {weights, indices, probs};
}

at::Tensor routeBackward(const at::Tensor& dWeights, const at::Tensor& dProbs, const Routed& routed, bool normalize) {
  static const auto op =
      find<at::Tensor(const OptionalTensor&, const OptionalTensor&, const at::Tensor&, const at::Tensor&,
                      const at::Tensor&, bool)>("switchyard::route_backward");
  return op.call(given(dWeights), given(dProbs), routed.weights, routed.indices, routed.probs, normalize);
}

std::tuple<at::Tensor, at::Tensor> rmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  static const auto op =
      find<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&, double)>(
          "switchyard::rms_norm_forward");
  return op.call(x, weight, eps);
}

std::tuple<at::Tensor, at::Tensor> rmsNormBackward(const at::Tensor& dY, const at::Tensor& x, const at::Tensor& weight,
                                                   const at::Tensor& scale) {
  static const auto op = find<std::tuple<at::Tensor, at::Tensor>(const at::Tensor&, const at::Tensor&,
                                                                 const at::Tensor&, const at::Tensor&)>(
      "switchyard::rms_norm_backward");
  return op.call(dY, x, weight, scale);
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  static const auto op =
      find<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, bool)>("switchyard::rotate_forward");
  return op.call(x, cos, sin, inverse);
}

at::Tensor crossEntropy(const at::Tensor& logits, const at::Tensor& targets, int64_t ignored) {
  static const auto op = find<at::Tensor(at::Tensor, const at::Tensor&, int64_t)>("switchyard::cross_entropy_");
  return op.call(logits, targets, ignored);
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
  library.def(
      "route_forward(Tensor logits, int k, bool normalize) -> (Tensor weights, Tensor indices, Tensor probs)");
  library.def(
      "route_backward(Tensor? d_weights, Tensor? d_probs, Tensor weights, Tensor indices, Tensor probs, "
      "bool normalize) -> Tensor");
  library.def("rms_norm_forward(Tensor x, Tensor weight, float eps) -> (Tensor y, Tensor scale)");
  library.def(
      "rms_norm_backward(Tensor d_y, Tensor x, Tensor weight, Tensor scale) -> (Tensor d_x, Tensor d_weight)");
  library.def("rotate_forward(Tensor x, Tensor cos, Tensor sin, bool inverse) -> Tensor");
  library.def("cross_entropy_(Tensor(a!) logits, Tensor targets, int ignored=-100) -> Tensor");
  library.def(
      "attention_decode(Tensor queries, Tensor keys, Tensor values, Tensor lengths, float scale, int window=0) -> Tensor");
  library.def(
      "adamw_mixed_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] means, Tensor(c!)[] squares, "
      "Tensor(d!)[] masters, Tensor settings, Tensor norm, float clip) -> ()");
  library.def("gradient_norm(Tensor[] gradients) -> Tensor");
}

}  // namespace switchyard

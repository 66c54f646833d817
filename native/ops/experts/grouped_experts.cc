// The experts of an MoE layer out of leaves and grouped products, so that nothing waits for the device: how many rows each
// expert has stays there. The CPU's own kernel (experts.cc) is what this is tested against.
// Shapes: T tokens, D model, E experts, K choices, F expert width, N = T * K rows, W = 2F when gated, else F.

#include "grouped_experts.h"

#include "grouped_product.h"

namespace switchyard {

GroupedOutput groupedExpertsForward(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights,
                                    const ExpertWeights& experts) {
  const leaf::Sorted sorted = leaf::sortSlots(indices, experts.up.size(0));
  Groups groups(sorted.ends);
  const at::Tensor rows = leaf::gatherRows(x, sorted.rowOfSlot, sorted.ends);                // [N, D]
  const at::Tensor hidden = groupedProduct(rows, experts.up.transpose(1, 2), groups);        // [N, W]
  const at::Tensor a = leaf::activate(hidden, sorted.ends, experts.activation, experts.gated);  // [N, F]
  const at::Tensor outputs = groupedProduct(a, experts.down.transpose(1, 2), groups);        // [N, D]
  return {leaf::combineRows(outputs, sorted.rowOfSlot, weights), hidden, sorted};
}

/**
 * With a = activate(hidden), `dL/dw = <dY down, a>`: the weighted sum is differentiated through a, so that the experts'
 * outputs need not be kept; and rows of x and dY are gathered again, which costs less than to keep them.
 */
ExpertsGradients groupedExpertsBackward(const at::Tensor& dY, const at::Tensor& x, const at::Tensor& weights,
                                        const at::Tensor& hidden, const leaf::Sorted& sorted,
                                        const ExpertWeights& experts, TrainedExperts trained) {
  Groups groups(sorted.ends);
  const at::Tensor dOutputs = leaf::gatherRows(dY, sorted.rowOfSlot, sorted.ends);  // [N, D], not yet weighted
  const at::Tensor dActivated = groupedProduct(dOutputs, experts.down, groups);  // [N, F]
  const leaf::ActivationGradients d = leaf::activateBackward(dActivated, hidden, weights, sorted.slotOfRow, sorted.ends,
                                                             experts.activation, experts.gated);
  at::Tensor dDown, dUp;
  if (trained.down) dDown = groupedOuterProduct(dOutputs, d.weighted, groups);  // [E, D, F]
  if (trained.up) {
    const at::Tensor rows = leaf::gatherRows(x, sorted.rowOfSlot, sorted.ends);
    dUp = groupedOuterProduct(d.hidden, rows, groups);  // [E, W, D]
  }
  const at::Tensor dRows = groupedProduct(d.hidden, experts.up, groups);                         // [N, D]
  return {leaf::combineRows(dRows, sorted.rowOfSlot, at::Tensor()), d.weights, dUp, dDown};
}

}  // namespace switchyard

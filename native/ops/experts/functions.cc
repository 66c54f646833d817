// Experts as libtorch operators with autograd.

#include "../common/accumulator.h"
#include "../common/functions.h"
#include "experts.h"
#include "grouped_experts.h"
#include "leaves.h"

namespace switchyard {
namespace {

/** Of x, indices, weights, up and down. */
TrainedExperts trainedOf(const AutogradContext* context) {
  return {context->needs_input_grad(3), context->needs_input_grad(4)};
}

struct ExpertsFunction : Function<ExpertsFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& indices,
                            const at::Tensor& weights, const at::Tensor& up, const at::Tensor& down,
                            const std::string& activation, bool gated, bool keepHidden) {
    const auto [y, hidden] = expertsForward(x, indices, weights, {up, down, activation, gated}, keepHidden);
    context->save_for_backward({x, indices, weights, up, down, hidden});
    context->saved_data["activation"] = activation;
    context->saved_data["gated"] = gated;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const ExpertWeights experts{saved[3], saved[4], context->saved_data["activation"].toStringRef(),
                                context->saved_data["gated"].toBool()};
    const ExpertsGradients d = expertsBackward(gradients[0], saved[0], saved[1], saved[2], saved[5], experts, trainedOf(context));
    return {d.x, {}, d.weights, d.up, d.down, {}, {}, {}};
  }
};

struct GroupedExpertsFunction : Function<GroupedExpertsFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& indices,
                            const at::Tensor& weights, const at::Tensor& up, const at::Tensor& down,
                            const std::string& activation, bool gated) {
    const auto [y, hidden, sorted] = groupedExpertsForward(x, indices, weights, {up, down, activation, gated});
    context->save_for_backward(
        {x, weights, up, down, hidden, sorted.rowOfSlot, sorted.slotOfRow, sorted.ends});
    context->saved_data["activation"] = activation;
    context->saved_data["gated"] = gated;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const ExpertWeights experts{saved[2], saved[3], context->saved_data["activation"].toStringRef(),
                                context->saved_data["gated"].toBool()};
    const ExpertsGradients d = groupedExpertsBackward(gradients[0].contiguous(), saved[0], saved[1], saved[4],
                                                      {saved[5], saved[6], saved[7]}, experts, trainedOf(context));
    return {d.x, {}, d.weights, d.up, d.down, {}, {}};
  }
};

/** So few rows are bound by the bytes of the weights that they read: they go to the matrices, not in groups. */
constexpr int64_t kFewRows = 64;

at::Tensor groupedExperts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights,
                          const at::Tensor& up, const at::Tensor& down, std::string activation, bool gated) {
  requireAlike("weights of experts", x, {up, down});
  const at::Tensor packed = x.contiguous(), chosen = indices.contiguous();
  const at::Tensor shares = weights.to(accumulatorOf(x)).contiguous();
  if (x.is_cuda() && chosen.numel() <= kFewRows && !anyRequiresGrad({x, weights, up, down})) {
    return leaf::expertsGemv(packed, chosen, shares, up, down, activation, gated);
  }
  return GroupedExpertsFunction::apply(packed, chosen, shares, up, down, activation, gated);
}

at::Tensor experts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& up,
                   const at::Tensor& down, std::string activation, bool gated) {
  if (!hasOwnKernel(x)) return groupedExperts(x, indices, weights, up, down, activation, gated);
  requireAlike("weights of experts", x, {up, down});
  const at::Tensor shares = weights.to(accumulatorOf(x));
  const bool keepHidden = anyRequiresGrad({x, weights, up, down});
  return ExpertsFunction::apply(x, indices, shares, up, down, activation, gated, keepHidden);
}

// Mixed precision narrows the experts, as it does matmul; routers stay as they are.
template <typename Cast>
at::Tensor autocastExperts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights,
                           const at::Tensor& up, const at::Tensor& down, std::string activation, bool gated) {
  const c10::impl::ExcludeDispatchKeyGuard below(Cast::key);
  return experts(Cast::narrowed(x), indices, weights, Cast::narrowed(up), Cast::narrowed(down), activation, gated);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def(
      "experts(Tensor x, Tensor indices, Tensor weights, Tensor up, Tensor down, str activation, bool gated) -> Tensor",
      &experts);
  library.def(
      "experts_grouped(Tensor x, Tensor indices, Tensor weights, Tensor up, Tensor down, str activation, bool gated) "
      "-> Tensor",
      &groupedExperts);
}

TORCH_LIBRARY_IMPL(switchyard, AutocastCPU, library) { library.impl("experts", &autocastExperts<AutocastCpu>); }
TORCH_LIBRARY_IMPL(switchyard, AutocastCUDA, library) { library.impl("experts", &autocastExperts<AutocastCuda>); }

}  // namespace switchyard

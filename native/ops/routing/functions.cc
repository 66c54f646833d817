// Routing as a libtorch operator with autograd.

#include "../common/functions.h"
#include "leaves.h"

namespace switchyard {
namespace {

struct RouteFunction : Function<RouteFunction> {
  static variable_list forward(AutogradContext* context, const at::Tensor& logits, int64_t k, bool normalize) {
    const Routed routed = leaf::route(logits, k, normalize);
    context->save_for_backward({routed.weights, routed.indices, routed.probs});
    context->saved_data["normalize"] = normalize;
    context->mark_non_differentiable({routed.indices});
    context->set_materialize_grads(false);
    return {routed.weights, routed.indices, routed.probs};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const bool normalize = context->saved_data["normalize"].toBool();
    return {leaf::routeBackward(gradients[0], gradients[2], {saved[0], saved[1], saved[2]}, normalize), {}, {}};
  }
};

std::tuple<at::Tensor, at::Tensor, at::Tensor> route(const at::Tensor& logits, int64_t k, bool normalize) {
  if (!anyRequiresGrad({logits})) {
    const Routed routed = leaf::route(logits, k, normalize);
    return {routed.weights, routed.indices, routed.probs};
  }
  const variable_list routed = RouteFunction::apply(logits, k, normalize);
  return {routed[0], routed[1], routed[2]};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("route(Tensor logits, int k, bool normalize) -> (Tensor weights, Tensor indices, Tensor probs)", &route);
}

}  // namespace switchyard

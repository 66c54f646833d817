// RMSNorm as a libtorch operator with autograd.

#include "../common/functions.h"
#include "leaves.h"

namespace switchyard {
namespace {

struct RmsNormFunction : Function<RmsNormFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double eps) {
    const auto [y, scale] = leaf::rmsNorm(x, weight, eps);
    context->save_for_backward({x, weight, scale});
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const auto [dX, dWeight] = leaf::rmsNormBackward(gradients[0], saved[0], saved[1], saved[2]);
    return {dX, dWeight, {}};
  }
};

at::Tensor rmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (!anyRequiresGrad({x, weight})) return std::get<0>(leaf::rmsNorm(x, weight, eps));
  return RmsNormFunction::apply(x, weight, eps);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor", &rmsNorm);
}

}  // namespace switchyard

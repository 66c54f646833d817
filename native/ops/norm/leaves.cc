#include "leaves.h"

#include <torch/library.h>

#include "../common/leaf.h"
#include "rms_norm.h"

namespace switchyard {
namespace leaf {

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

}  // namespace leaf

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("rms_norm_forward(Tensor x, Tensor weight, float eps) -> (Tensor y, Tensor scale)");
  library.def(
      "rms_norm_backward(Tensor d_y, Tensor x, Tensor weight, Tensor scale) -> (Tensor d_x, Tensor d_weight)");
}

TORCH_LIBRARY_IMPL(switchyard, CPU, library) {
  library.impl("rms_norm_forward", &rmsNormForward);
  library.impl("rms_norm_backward", &rmsNormBackward);
}

}  // namespace switchyard

// The norm's operators on the device.

#include <ATen/ops/empty.h>

#include "../common/device_operators.h"
#include "rms_norm_launch.h"

namespace switchyard::cuda {
namespace {

int64_t rowsOf(const at::Tensor& x, const at::Tensor& weight) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 1, "weight ", weight.sizes(), " does not fit x ", x.sizes());
  require(weight, x, {"weight", x.scalar_type(), {x.size(-1)}});
  return x.size(-1) == 0 ? 0 : x.numel() / x.size(-1);
}

std::tuple<at::Tensor, at::Tensor> rmsNormForward(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const int64_t rows = rowsOf(x, weight), width = weight.size(0);
  const OnDevice device(x);
  const at::Tensor from = x.contiguous(), factors = weight.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options()), scale = at::empty({rows}, optionsOf(x, at::kFloat));
  launchRmsNorm({elementOf(x, "x"), from.data_ptr(), factors.data_ptr(), y.data_ptr(), scale.data_ptr<float>(),
                 static_cast<float>(eps), rows, width},
                device.stream());
  return {y, scale};
}

std::tuple<at::Tensor, at::Tensor> rmsNormBackward(const at::Tensor& dY, const at::Tensor& x, const at::Tensor& weight,
                                                   const at::Tensor& scale) {
  const int64_t rows = rowsOf(x, weight), width = weight.size(0);
  require(dY, x, {"d_y", x.scalar_type(), x.sizes().vec()});
  require(scale, x, {"scale", at::kFloat, {rows}});
  TORCH_CHECK(width <= kWidestNorm, "the last dimension must be at most ", kWidestNorm, ", got ", width);
  const OnDevice device(x);
  const at::Tensor gradient = dY.contiguous(), from = x.contiguous(), factors = weight.contiguous();
  const at::Tensor scales = scale.contiguous();
  at::Tensor dX = at::empty(x.sizes(), x.options()), dWeight = at::empty(weight.sizes(), weight.options());
  at::Tensor parts = at::empty({rmsNormParts(rows), width}, optionsOf(x, at::kFloat));
  launchRmsNormBackward({elementOf(x, "x"), gradient.data_ptr(), from.data_ptr(), factors.data_ptr(),
                         scales.data_ptr<float>(), dX.data_ptr(), dWeight.data_ptr(), parts.data_ptr<float>(), rows, width},
                        device.stream());
  return {dX, dWeight};
}

}  // namespace

SWITCHYARD_DEVICE_OPERATORS(library) {
  library.impl("rms_norm_forward", &rmsNormForward);
  library.impl("rms_norm_backward", &rmsNormBackward);
}

}  // namespace switchyard::cuda

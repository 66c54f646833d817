// Shapes: N rows, I inputs, O outputs.

#include "linear.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

#include "../common/gemm.h"

namespace switchyard {
namespace {

/** A matrix whose rows, or whose columns, lie one after the other as they are. */
template <typename T>
Matrix<T> matrixOf(const at::Tensor& x) {
  return {x.data_ptr<T>(), x.size(1)};
}

}  // namespace

at::Tensor linearForward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const int64_t rows = x.size(0), inputs = x.size(1), outputs = weight.size(0);
  at::Tensor y = at::empty({rows, outputs}, x.options());
  if (bias.defined()) y.copy_(bias.expand({rows, outputs}));
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "switchyard::linear", [&] {
    gemm(rows, outputs, inputs, matrixOf<scalar_t>(x), matrixOf<scalar_t>(weight).t(), scalar_t(bias.defined() ? 1 : 0),
         y.data_ptr<scalar_t>(), outputs);
  });
  return y;
}

at::Tensor linearInputGradient(const at::Tensor& dY, const at::Tensor& weight) {
  const int64_t rows = dY.size(0), outputs = dY.size(1), inputs = weight.size(1);
  at::Tensor dX = at::empty({rows, inputs}, dY.options());
  AT_DISPATCH_FLOATING_TYPES(dY.scalar_type(), "switchyard::linear", [&] {
    gemm(rows, inputs, outputs, matrixOf<scalar_t>(dY), matrixOf<scalar_t>(weight), scalar_t(0),
         dX.data_ptr<scalar_t>(), inputs);
  });
  return dX;
}

at::Tensor linearWeightGradient(const at::Tensor& dY, const at::Tensor& x) {
  const int64_t rows = x.size(0), outputs = dY.size(1), inputs = x.size(1);
  at::Tensor dWeight = at::empty({outputs, inputs}, x.options());
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "switchyard::linear", [&] {
    gemm(outputs, inputs, rows, matrixOf<scalar_t>(dY).t(), matrixOf<scalar_t>(x), scalar_t(0),
         dWeight.data_ptr<scalar_t>(), inputs);
  });
  return dWeight;
}

}  // namespace switchyard

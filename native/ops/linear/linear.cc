// Shapes: N rows, I inputs, O outputs.

#include "linear.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

#include "../common/accumulator.h"
#include "../common/elementwise.h"
#include "../common/gemm.h"

namespace switchyard {
namespace {

template <typename T>
Matrix<T> matrixOf(const at::Tensor& x) {
  return {x.data_ptr<T>(), x.size(1)};
}

/** `left right` [m, n], in the operands' type; added to `start` [m, n] where that is given, which is of the sums' type. */
at::Tensor product(const at::Tensor& left, bool transposeLeft, const at::Tensor& right, bool transposeRight,
                   const at::Tensor& start = at::Tensor()) {
  const int64_t m = left.size(transposeLeft ? 1 : 0), k = left.size(transposeLeft ? 0 : 1);
  const int64_t n = right.size(transposeRight ? 0 : 1);
  at::Tensor sums = start.defined() ? start : at::empty({m, n}, left.options().dtype(accumulatorOf(left)));
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, left.scalar_type(), "switchyard::linear", [&] {
    using A = WideOf<scalar_t>;
    Matrix<scalar_t> a = matrixOf<scalar_t>(left), b = matrixOf<scalar_t>(right);
    gemm(m, n, k, transposeLeft ? a.t() : a, transposeRight ? b.t() : b, A(start.defined() ? 1 : 0),
         sums.data_ptr<A>(), n);
  });
  return sums.to(left.scalar_type());
}

}  // namespace

at::Tensor linearForward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (!bias.defined()) return product(x, false, weight, true);
  const at::Tensor start = bias.to(accumulatorOf(x)).expand({x.size(0), weight.size(0)});
  return product(x, false, weight, true, start.clone(at::MemoryFormat::Contiguous));
}

at::Tensor linearInputGradient(const at::Tensor& dY, const at::Tensor& weight) {
  return product(dY, false, weight, false);
}

at::Tensor linearWeightGradient(const at::Tensor& dY, const at::Tensor& x) { return product(dY, true, x, false); }

}  // namespace switchyard

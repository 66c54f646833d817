// Newton-Schulz on the CPU, all matrices of a stack at once. Equation: train/optimizer/newton-schulz.ts.
// Shapes: E matrices of R rows and I columns, R <= I.

#include <ATen/Dispatch.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>

#include "../common/gemm.h"
#include "../common/parallel.h"
#include "../common/scratch.h"
#include "optimizer.h"

namespace switchyard {
namespace {

/** Multiplications of a product that is worth waking other threads for. */
constexpr int64_t kShared = int64_t{1} << 22;

template <typename T>
void normalize(T* x, int64_t count) {
  double squares = 0;
  for (int64_t i = 0; i < count; i++) squares += static_cast<double>(x[i]) * x[i];
  const T factor = static_cast<T>(1 / std::max(std::sqrt(squares), 1e-7));  // a matrix of zeros stays one
  for (int64_t i = 0; i < count; i++) x[i] *= factor;
}

/** `X <- a X + (b X X^T + c (X X^T)^2) X`, again and again. */
template <typename T>
void orthogonalize(T* x, int64_t rows, int64_t columns, const Quintic& quintic) {
  Scratch scratch;
  T* gram = scratch.take<T>(rows * rows);
  T* polynomial = scratch.take<T>(rows * rows);
  T* before = scratch.take<T>(rows * columns);
  const T a = quintic.a, b = quintic.b, c = quintic.c;
  normalize(x, rows * columns);
  for (int64_t step = 0; step < quintic.iterations; step++) {
    const Matrix<T> old{before, columns}, g{gram, rows};
    std::copy_n(x, rows * columns, before);
    gemm(rows, rows, columns, old, old.t(), T(0), gram, rows);
    gemm(rows, rows, rows, g, g, T(0), polynomial, rows);
    for (int64_t i = 0; i < rows * rows; i++) polynomial[i] = b * gram[i] + c * polynomial[i];
    gemm(rows, columns, rows, Matrix<T>{polynomial, rows}, old, a, x, columns);
  }
}

}  // namespace

at::Tensor newtonSchulz(const at::Tensor& matrices, const Quintic& quintic) {
  TORCH_CHECK(matrices.is_cpu() && matrices.dim() == 3 && matrices.size(1) <= matrices.size(2),
              "matrices must be [E, R, I] with R <= I, on the cpu");
  at::Tensor result = matrices.clone(at::MemoryFormat::Contiguous);
  const int64_t count = result.size(0), rows = result.size(1), columns = result.size(2);
  AT_DISPATCH_FLOATING_TYPES(result.scalar_type(), "switchyard::newton_schulz", [&] {
    scalar_t* first = result.data_ptr<scalar_t>();
    const auto one = [&](int64_t i) { orthogonalize(first + i * rows * columns, rows, columns, quintic); };
    if (count > 1) return parallelTasks(count, one);
    if (count == 0) return;
    if (rows * rows * columns >= kShared) return one(0);  // whose products use all threads
    const Alone guard;
    one(0);
  });
  return result;
}

}  // namespace switchyard

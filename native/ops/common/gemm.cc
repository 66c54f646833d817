#include "gemm.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>
#include <c10/core/InferenceMode.h>

#include "elementwise.h"
#include "gemm_library.h"

namespace switchyard {
namespace {

template <typename T>
at::Tensor view(Matrix<T> matrix, int64_t rows, int64_t columns) {
  const auto options = at::TensorOptions(c10::CppTypeToScalarType<T>::value);
  auto* data = const_cast<T*>(matrix.data);
  return matrix.transposed ? at::from_blob(data, {rows, columns}, {1, matrix.stride}, options)
                           : at::from_blob(data, {rows, columns}, {matrix.stride, 1}, options);
}

template <typename T>
void gemmByLibtorch(int64_t m, int64_t n, int64_t k, Matrix<T> a, Matrix<T> b, T beta, T* c, int64_t stride) {
  const c10::InferenceMode guard(true);
  at::Tensor out = view(Matrix<T>{c, stride}, m, n);
  if (k == 0 && beta == 0) {
    out.zero_();
  } else if (k > 0) {
    beta == 0 ? at::mm_out(out, view(a, m, k), view(b, k, n)) : out.addmm_(view(a, m, k), view(b, k, n), beta);
  }
}

/** BLAS is column-major: its c^T = b^T a^T is our c = a b. */
template <typename T, typename Gemm>
void gemmByBlas(Gemm* blas, int64_t m, int64_t n, int64_t k, Matrix<T> a, Matrix<T> b, T beta, T* c, int64_t stride) {
  const int sizes[] = {static_cast<int>(n), static_cast<int>(m), static_cast<int>(k)};
  const int strides[] = {static_cast<int>(b.stride), static_cast<int>(a.stride), static_cast<int>(stride)};
  const T one = 1;
  blas(b.transposed ? "T" : "N", a.transposed ? "T" : "N", &sizes[0], &sizes[1], &sizes[2], &one, b.data, &strides[0],
       a.data, &strides[1], &beta, c, &strides[2]);
}

/** False where oneDNN refuses. */
template <typename T, typename Gemm>
bool gemmByOneDnn(Gemm* gemm, int64_t m, int64_t n, int64_t k, Matrix<T> a, Matrix<T> b, float beta, float* c,
                  int64_t stride) {
  // libtorch tells OpenMP how many threads it may use when a thread first asks.
  static thread_local const int threads = at::get_num_threads();
  (void)threads;
  return gemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', m, n, k, 1.0f, a.data, a.stride, b.data, b.stride,
              beta, c, stride) == 0;
}

/** A matrix in f32, in memory of its own. */
struct Widened {
  at::Tensor values;
  bool transposed;

  Widened(Matrix<c10::BFloat16> matrix, int64_t rows, int64_t columns) : transposed(matrix.transposed) {
    if (transposed) std::swap(rows, columns);
    values = at::empty({rows, columns}, at::kFloat);
    for (int64_t row = 0; row < rows; row++) {
      widenRow(matrix.data + row * matrix.stride, values.data_ptr<float>() + row * columns, columns);
    }
  }

  Matrix<float> matrix() const { return {values.data_ptr<float>(), values.size(1), transposed}; }
};

}  // namespace

void gemm(int64_t m, int64_t n, int64_t k, Matrix<float> a, Matrix<float> b, float beta, float* c, int64_t stride) {
  if (m == 0 || n == 0) return;
  const GemmLibrary library = k == 0 ? GemmLibrary::Libtorch : gemmLibrary(gemmShapeOf(m, n, k, a.transposed));
  switch (library) {
    case GemmLibrary::OneDnn:
      if (gemmByOneDnn(oneDnnFunctions().sgemm, m, n, k, a, b, beta, c, stride)) return;
      return gemmByLibtorch(m, n, k, a, b, beta, c, stride);
    case GemmLibrary::Blas:
      return gemmByBlas(blasFunctions().sgemm, m, n, k, a, b, beta, c, stride);
    case GemmLibrary::Libtorch:
      return gemmByLibtorch(m, n, k, a, b, beta, c, stride);
  }
}

void gemm(int64_t m, int64_t n, int64_t k, Matrix<double> a, Matrix<double> b, double beta, double* c,
          int64_t stride) {
  if (m == 0 || n == 0) return;
  auto* dgemm = blasFunctions().dgemm;
  if (k == 0 || dgemm == nullptr) return gemmByLibtorch(m, n, k, a, b, beta, c, stride);
  gemmByBlas(dgemm, m, n, k, a, b, beta, c, stride);
}

void gemm(int64_t m, int64_t n, int64_t k, Matrix<c10::BFloat16> a, Matrix<c10::BFloat16> b, float beta, float* c,
          int64_t stride) {
  if (m == 0 || n == 0) return;
  if (k > 0 && hasFastBf16()) {
    const auto bits = [](Matrix<c10::BFloat16> matrix) {
      return Matrix<uint16_t>{reinterpret_cast<const uint16_t*>(matrix.data), matrix.stride, matrix.transposed};
    };
    if (gemmByOneDnn(oneDnnFunctions().bf16, m, n, k, bits(a), bits(b), beta, c, stride)) return;
  }
  // Every product of two bf16 numbers is an f32 number: the same but for the order of sums.
  const Widened left(a, m, k), right(b, k, n);
  gemm(m, n, k, left.matrix(), right.matrix(), beta, c, stride);
}

SingleThreadedProducts::SingleThreadedProducts() : before_(1) {
  const auto& blas = blasFunctions();
  if (blas.setThreads == nullptr) return;
  before_ = blas.getThreads();
  if (before_ != 1) blas.setThreads(1);
}

SingleThreadedProducts::~SingleThreadedProducts() {
  if (before_ != 1) blasFunctions().setThreads(before_);
}

}  // namespace switchyard

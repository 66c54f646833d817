#include "blas.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>
#include <c10/core/InferenceMode.h>
#include <dlfcn.h>

#include <atomic>

namespace switchyard {
namespace {

template <typename T>
using BlasGemm = void(const char*, const char*, const int*, const int*, const int*, const T*, const T*, const int*,
                      const T*, const int*, const T*, T*, const int*);

// Found at run time: a libtorch with its BLAS inside (pip's) exports none, and then goes through mm.
const auto sgemm = reinterpret_cast<BlasGemm<float>*>(dlsym(RTLD_DEFAULT, "sgemm_"));
const auto dgemm = reinterpret_cast<BlasGemm<double>*>(dlsym(RTLD_DEFAULT, "dgemm_"));

template <typename T>
at::Tensor view(Matrix<T> matrix, int64_t rows, int64_t columns) {
  const auto options = at::TensorOptions(c10::CppTypeToScalarType<T>::value);
  auto* data = const_cast<T*>(matrix.data);
  return matrix.transposed ? at::from_blob(data, {rows, columns}, {1, matrix.stride}, options)
                           : at::from_blob(data, {rows, columns}, {matrix.stride, 1}, options);
}

template <typename T>
void gemmOf(BlasGemm<T>* blas, int64_t m, int64_t n, int64_t k, Matrix<T> a, Matrix<T> b, T beta, T* c,
            int64_t stride) {
  if (m == 0 || n == 0) return;
  if (blas == nullptr || k == 0) {
    const c10::InferenceMode guard(true);
    at::Tensor out = view(Matrix<T>{c, stride}, m, n);
    if (k == 0 && beta == 0) {
      out.zero_();
    } else if (k > 0) {
      beta == 0 ? at::mm_out(out, view(a, m, k), view(b, k, n)) : out.addmm_(view(a, m, k), view(b, k, n), beta);
    }
    return;
  }
  // BLAS is column-major: its c^T = b^T a^T is our c = a b.
  const char* transposeB = b.transposed ? "T" : "N";
  const char* transposeA = a.transposed ? "T" : "N";
  const int sizes[] = {static_cast<int>(n), static_cast<int>(m), static_cast<int>(k)};
  const int strides[] = {static_cast<int>(b.stride), static_cast<int>(a.stride), static_cast<int>(stride)};
  const T one = 1;
  blas(transposeB, transposeA, &sizes[0], &sizes[1], &sizes[2], &one, b.data, &strides[0], a.data, &strides[1], &beta,
       c, &strides[2]);
}

const auto setThreads = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
const auto getThreads = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "openblas_get_num_threads"));

}  // namespace

void gemm(int64_t m, int64_t n, int64_t k, Matrix<float> a, Matrix<float> b, float beta, float* c, int64_t stride) {
  gemmOf(sgemm, m, n, k, a, b, beta, c, stride);
}

void gemm(int64_t m, int64_t n, int64_t k, Matrix<double> a, Matrix<double> b, double beta, double* c,
          int64_t stride) {
  gemmOf(dgemm, m, n, k, a, b, beta, c, stride);
}

SingleThreadedBlas::SingleThreadedBlas() : before_(getThreads != nullptr ? getThreads() : 1) {
  if (setThreads != nullptr && before_ != 1) setThreads(1);
}

SingleThreadedBlas::~SingleThreadedBlas() {
  if (setThreads != nullptr && before_ != 1) setThreads(before_);
}

}  // namespace switchyard

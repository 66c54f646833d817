// Matrix products on raw memory: the one door to the libraries that compute them.
#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>

namespace switchyard {

/** A row-major matrix in memory, or its transpose. */
template <typename T>
struct Matrix {
  const T* data;
  int64_t stride;  // elements from row to row
  bool transposed = false;

  Matrix t() const { return {data, stride, !transposed}; }
};

/**
 * `c = a b + beta c` with a [m, k], b [k, n], c [m, n]; c row-major with `stride` elements per row. Products of bf16 are
 * summed in f32, and `c` is f32. By which library: gemm_library.h.
 */
void gemm(int64_t m, int64_t n, int64_t k, Matrix<float> a, Matrix<float> b, float beta, float* c, int64_t stride);
void gemm(int64_t m, int64_t n, int64_t k, Matrix<double> a, Matrix<double> b, double beta, double* c, int64_t stride);
void gemm(int64_t m, int64_t n, int64_t k, Matrix<c10::BFloat16> a, Matrix<c10::BFloat16> b, float beta, float* c,
          int64_t stride);

/**
 * While alive, each product uses one thread: for regions in which several threads compute some at once. oneDNN sees that by
 * itself; OpenBLAS keeps one number for the process, so such regions of two JavaScript workers may slow each other, never
 * spoil a result.
 */
class SingleThreadedProducts {
 public:
  SingleThreadedProducts();
  ~SingleThreadedProducts();
  SingleThreadedProducts(const SingleThreadedProducts&) = delete;
  SingleThreadedProducts& operator=(const SingleThreadedProducts&) = delete;

 private:
  int before_;
};

}  // namespace switchyard

// Matrix products on raw memory, by the BLAS that libtorch itself uses, and who threads them.
#pragma once

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

/** `c = a b + beta c` with a [m, k], b [k, n], c [m, n]; c row-major with `stride` elements per row. */
void gemm(int64_t m, int64_t n, int64_t k, Matrix<float> a, Matrix<float> b, float beta, float* c, int64_t stride);
void gemm(int64_t m, int64_t n, int64_t k, Matrix<double> a, Matrix<double> b, double beta, double* c, int64_t stride);

/**
 * While alive, each BLAS call uses one thread: for regions in which several threads call BLAS at once. OpenBLAS keeps
 * one number for the process, so such regions of two JavaScript workers may slow each other, never spoil a result.
 */
class SingleThreadedBlas {
 public:
  SingleThreadedBlas();
  ~SingleThreadedBlas();
  SingleThreadedBlas(const SingleThreadedBlas&) = delete;
  SingleThreadedBlas& operator=(const SingleThreadedBlas&) = delete;

 private:
  int before_;
};

}  // namespace switchyard

#include "cached_rows.h"

#include <cmath>

#include "../common/simd.h"

namespace switchyard {
namespace {

template <typename T>
SWITCHYARD_INLINE void gatherLoop(T* __restrict scores, int64_t count, T* __restrict mixed, int64_t width, T& largest,
                                  T& sum) {
  T now = largest;
#pragma omp simd reduction(max : now)
  for (int64_t i = 0; i < count; i++) now = scores[i] > now ? scores[i] : now;
  T more = 0;
#pragma omp simd reduction(+ : more)
  for (int64_t i = 0; i < count; i++) more += scores[i] = fastExp(scores[i] - now);
  const T factor = std::exp(largest - now);
  for (int64_t i = 0; i < width; i++) mixed[i] *= factor;
  sum = sum * factor + more;
  largest = now;
}

/** Four positions at a time: one sum alone would wait for itself. */
template <typename T>
SWITCHYARD_INLINE void scoreLoop(const T* queries, int64_t rows, Matrix<T> keys, int64_t count, int64_t width,
                                 T* scores) {
  int64_t s = 0;
  for (; s + 4 <= count; s += 4) {
    const T *__restrict k0 = keys.data + s * keys.stride, *__restrict k1 = k0 + keys.stride;
    const T *__restrict k2 = k1 + keys.stride, *__restrict k3 = k2 + keys.stride;
    for (int64_t r = 0; r < rows; r++) {
      const T* __restrict query = queries + r * width;
      T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
      for (int64_t i = 0; i < width; i++) {
        s0 += query[i] * k0[i];
        s1 += query[i] * k1[i];
        s2 += query[i] * k2[i];
        s3 += query[i] * k3[i];
      }
      T* to = scores + r * count + s;
      to[0] = s0, to[1] = s1, to[2] = s2, to[3] = s3;
    }
  }
  for (; s < count; s++) {
    const T* __restrict key = keys.data + s * keys.stride;
    for (int64_t r = 0; r < rows; r++) {
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < width; i++) sum += queries[r * width + i] * key[i];
      scores[r * count + s] = sum;
    }
  }
}

/** Four positions at a time, so that sums are not stored for each. */
template <typename T>
SWITCHYARD_INLINE void mixLoop(const T* p, int64_t rows, Matrix<T> values, int64_t count, int64_t width, T* mixed) {
  int64_t s = 0;
  for (; s + 4 <= count; s += 4) {
    const T *__restrict v0 = values.data + s * values.stride, *__restrict v1 = v0 + values.stride;
    const T *__restrict v2 = v1 + values.stride, *__restrict v3 = v2 + values.stride;
    for (int64_t r = 0; r < rows; r++) {
      const T p0 = p[r * count + s], p1 = p[r * count + s + 1], p2 = p[r * count + s + 2], p3 = p[r * count + s + 3];
      T* __restrict to = mixed + r * width;
      for (int64_t i = 0; i < width; i++) to[i] += (p0 * v0[i] + p1 * v1[i]) + (p2 * v2[i] + p3 * v3[i]);
    }
  }
  for (; s < count; s++) {
    const T* __restrict value = values.data + s * values.stride;
    for (int64_t r = 0; r < rows; r++) {
      T* __restrict to = mixed + r * width;
      for (int64_t i = 0; i < width; i++) to[i] += p[r * count + s] * value[i];
    }
  }
}

}  // namespace

SWITCHYARD_VECTORIZED
void gatherRow(float* scores, int64_t count, float* mixed, int64_t width, float& largest, float& sum) {
  gatherLoop(scores, count, mixed, width, largest, sum);
}
void gatherRow(double* scores, int64_t count, double* mixed, int64_t width, double& largest, double& sum) {
  gatherLoop(scores, count, mixed, width, largest, sum);
}

SWITCHYARD_VECTORIZED
void scoreFew(const float* queries, int64_t rows, Matrix<float> keys, int64_t count, int64_t width, float* scores) {
  scoreLoop(queries, rows, keys, count, width, scores);
}
void scoreFew(const double* queries, int64_t rows, Matrix<double> keys, int64_t count, int64_t width, double* scores) {
  scoreLoop(queries, rows, keys, count, width, scores);
}

SWITCHYARD_VECTORIZED
void mixFew(const float* p, int64_t rows, Matrix<float> values, int64_t count, int64_t width, float* mixed) {
  mixLoop(p, rows, values, count, width, mixed);
}
void mixFew(const double* p, int64_t rows, Matrix<double> values, int64_t count, int64_t width, double* mixed) {
  mixLoop(p, rows, values, count, width, mixed);
}

}  // namespace switchyard

#include "causal_rows.h"

#include <cmath>

#include "../common/simd.h"

namespace switchyard {
namespace {

template <typename T>
SWITCHYARD_INLINE T softmaxLoop(T* __restrict scores, int64_t count) {
  T largest = scores[0];
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < count; i++) largest = scores[i] > largest ? scores[i] : largest;
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += scores[i] = fastExp(scores[i] - largest);
  const T scale = T(1) / sum;
  for (int64_t i = 0; i < count; i++) scores[i] *= scale;
  return largest + std::log(sum);
}

template <typename T>
SWITCHYARD_INLINE void backwardLoop(T* __restrict scores, T* __restrict gradient, T logSum, T delta, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const T p = fastExp(scores[i] - logSum);
    scores[i] = p;
    gradient[i] = p * (gradient[i] - delta);
  }
}

template <typename T>
SWITCHYARD_INLINE void rotateLoop(const T* __restrict x, const T* __restrict cos, const T* __restrict sin, T scale,
                                  T* __restrict to, int64_t width) {
  const int64_t half = width / 2;
  for (int64_t i = 0; i < half; i++) {
    to[i] = scale * (x[i] * cos[i] - x[i + half] * sin[i]);
    to[i + half] = scale * (x[i + half] * cos[i + half] + x[i] * sin[i + half]);
  }
}

template <typename T>
SWITCHYARD_INLINE void unrotateLoop(const T* __restrict d, const T* __restrict cos, const T* __restrict sin, T scale,
                                    T* __restrict to, int64_t width) {
  const int64_t half = width / 2;
  for (int64_t i = 0; i < half; i++) {
    to[i] = scale * (d[i] * cos[i] + d[i + half] * sin[i + half]);
    to[i + half] = scale * (d[i + half] * cos[i + half] - d[i] * sin[i]);
  }
}

template <typename T>
SWITCHYARD_INLINE T dotLoop(const T* a, const T* b, int64_t width) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < width; i++) sum += a[i] * b[i];
  return sum;
}

}  // namespace

SWITCHYARD_VECTORIZED
float softmaxRow(float* scores, int64_t count) { return softmaxLoop(scores, count); }
double softmaxRow(double* scores, int64_t count) { return softmaxLoop(scores, count); }

SWITCHYARD_VECTORIZED
void backwardRow(float* scores, float* gradient, float logSum, float delta, int64_t count) {
  backwardLoop(scores, gradient, logSum, delta, count);
}
void backwardRow(double* scores, double* gradient, double logSum, double delta, int64_t count) {
  backwardLoop(scores, gradient, logSum, delta, count);
}

SWITCHYARD_VECTORIZED
void rotateRow(const float* x, const float* cos, const float* sin, float scale, float* to, int64_t width) {
  rotateLoop(x, cos, sin, scale, to, width);
}
void rotateRow(const double* x, const double* cos, const double* sin, double scale, double* to, int64_t width) {
  rotateLoop(x, cos, sin, scale, to, width);
}

SWITCHYARD_VECTORIZED
void unrotateRow(const float* d, const float* cos, const float* sin, float scale, float* to, int64_t width) {
  unrotateLoop(d, cos, sin, scale, to, width);
}
void unrotateRow(const double* d, const double* cos, const double* sin, double scale, double* to, int64_t width) {
  unrotateLoop(d, cos, sin, scale, to, width);
}

SWITCHYARD_VECTORIZED
float dotRow(const float* a, const float* b, int64_t width) { return dotLoop(a, b, width); }
double dotRow(const double* a, const double* b, int64_t width) { return dotLoop(a, b, width); }

}  // namespace switchyard

#include "adamw_rows.h"

#include <cmath>

#include "../common/simd.h"

namespace switchyard {
namespace {

template <typename T>
SWITCHYARD_INLINE void adamWLoop(T* __restrict p, const T* __restrict g, T* __restrict m, T* __restrict v,
                                 const AdamWFactors<T>& f, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const T gradient = g[i] * f.gradient;
    m[i] = f.beta1 * m[i] + (T(1) - f.beta1) * gradient;
    v[i] = f.beta2 * v[i] + (T(1) - f.beta2) * gradient * gradient;
    p[i] = f.decay * p[i] - f.rate * m[i] / (std::sqrt(v[i]) * f.inverse + f.epsilon);
  }
}

template <typename T>
SWITCHYARD_INLINE double squareLoop(const T* __restrict x, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

}  // namespace

SWITCHYARD_VECTORIZED
void adamWRow(float* p, const float* g, float* m, float* v, const AdamWFactors<float>& factors, int64_t count) {
  adamWLoop(p, g, m, v, factors, count);
}

void adamWRow(double* p, const double* g, double* m, double* v, const AdamWFactors<double>& factors, int64_t count) {
  adamWLoop(p, g, m, v, factors, count);
}

SWITCHYARD_VECTORIZED
double sumOfSquares(const float* x, int64_t count) { return squareLoop(x, count); }

double sumOfSquares(const double* x, int64_t count) { return squareLoop(x, count); }

}  // namespace switchyard

// AdamW on stretches of memory.
#pragma once

#include <cstdint>

namespace switchyard {

/** What one step does to every element; see train/optimizer/adamw.ts. */
template <typename T>
struct AdamWFactors {
  T decay;     // 1 - lr wd
  T gradient;  // multiplies every gradient, as clipping does
  T beta1, beta2;
  T rate;     // lr / (1 - b1^t)
  T inverse;  // 1 / sqrt(1 - b2^t)
  T epsilon;
};

/** `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `p = decay p - rate m / (sqrt(v) inverse + epsilon)`. */
void adamWRow(float* p, const float* g, float* m, float* v, const AdamWFactors<float>& factors, int64_t count);
void adamWRow(double* p, const double* g, double* m, double* v, const AdamWFactors<double>& factors, int64_t count);

/** Summed in double precision. */
double sumOfSquares(const float* x, int64_t count);
double sumOfSquares(const double* x, int64_t count);

}  // namespace switchyard

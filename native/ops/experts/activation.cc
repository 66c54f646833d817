#include "activation.h"

#include <c10/util/Exception.h>

#include <cmath>

#include "../common/simd.h"

namespace switchyard {
namespace {

// Each activation gives its value and its slope at x.

struct SiluAt {
  template <typename T>
  static SWITCHYARD_INLINE void compute(T x, T* value, T* slope) {
    const T sigmoid = T(1) / (T(1) + fastExp(-x));
    *value = x * sigmoid;
    *slope = sigmoid * (T(1) + x * (T(1) - sigmoid));
  }
};

struct GeluAt {
  template <typename T>
  static SWITCHYARD_INLINE void compute(T x, T* value, T* slope) {
    const T cdf = T(0.5) * (T(1) + std::erf(x * T(0.70710678118654752440)));
    *value = x * cdf;
    *slope = cdf + x * T(0.39894228040143267794) * std::exp(T(-0.5) * x * x);
  }
};

struct GeluTanhAt {
  template <typename T>
  static SWITCHYARD_INLINE void compute(T x, T* value, T* slope) {
    const T scale = T(0.79788456080286535588);  // sqrt(2 / pi)
    const T inner = scale * (x + T(0.044715) * x * x * x);
    const T tanh = T(1) - T(2) / (fastExp(T(2) * inner) + T(1));
    const T innerSlope = scale * (T(1) + T(3 * 0.044715) * x * x);
    *value = T(0.5) * x * (T(1) + tanh);
    *slope = T(0.5) * (T(1) + tanh) + T(0.5) * x * (T(1) - tanh * tanh) * innerSlope;
  }
};

struct ReluAt {
  template <typename T>
  static SWITCHYARD_INLINE void compute(T x, T* value, T* slope) {
    *value = x > T(0) ? x : T(0);
    *slope = x > T(0) ? T(1) : T(0);
  }
};

template <typename At, typename T>
SWITCHYARD_INLINE void forwardLoop(const T* __restrict gate, const T* __restrict up, T* __restrict a, int64_t count) {
  T slope;
  for (int64_t i = 0; i < count; i++) {
    T value;
    At::compute(gate[i], &value, &slope);
    a[i] = up == nullptr ? value : value * up[i];
  }
}

template <typename At, typename T>
SWITCHYARD_INLINE T backwardLoop(const ActivatedRow<T>& row, T* __restrict weighted, T* __restrict dGate,
                                 T* __restrict dUp, int64_t count) {
  const T weight = row.weight;
  const T* __restrict gradient = row.gradient;
  const T* __restrict gate = row.gate;
  const T* __restrict up = row.up;
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) {
    T value, slope;
    At::compute(gate[i], &value, &slope);
    const T factor = up == nullptr ? T(1) : up[i];
    const T a = value * factor;
    const T d = weight * gradient[i];
    sum += gradient[i] * a;
    weighted[i] = weight * a;
    dGate[i] = d * factor * slope;
    if (up != nullptr) dUp[i] = d * value;
  }
  return sum;
}

template <typename T>
SWITCHYARD_INLINE void forward(Activation activation, const T* gate, const T* up, T* a, int64_t count) {
  switch (activation) {
    case Activation::Silu:
      return forwardLoop<SiluAt>(gate, up, a, count);
    case Activation::Gelu:
      return forwardLoop<GeluAt>(gate, up, a, count);
    case Activation::GeluTanh:
      return forwardLoop<GeluTanhAt>(gate, up, a, count);
    case Activation::Relu:
      return forwardLoop<ReluAt>(gate, up, a, count);
  }
}

template <typename T>
SWITCHYARD_INLINE T backward(Activation activation, const ActivatedRow<T>& row, T* weighted, T* dGate, T* dUp,
                             int64_t count) {
  switch (activation) {
    case Activation::Silu:
      return backwardLoop<SiluAt>(row, weighted, dGate, dUp, count);
    case Activation::Gelu:
      return backwardLoop<GeluAt>(row, weighted, dGate, dUp, count);
    case Activation::GeluTanh:
      return backwardLoop<GeluTanhAt>(row, weighted, dGate, dUp, count);
    case Activation::Relu:
      return backwardLoop<ReluAt>(row, weighted, dGate, dUp, count);
  }
  return 0;
}

}  // namespace

Activation parseActivation(const std::string& name) {
  if (name == "silu") return Activation::Silu;
  if (name == "gelu") return Activation::Gelu;
  if (name == "gelu-tanh") return Activation::GeluTanh;
  TORCH_CHECK(name == "relu", "activation '", name, "' is not one of silu, gelu, gelu-tanh, relu");
  return Activation::Relu;
}

SWITCHYARD_VECTORIZED
void activate(Activation activation, const float* gate, const float* up, float* a, int64_t count) {
  forward(activation, gate, up, a, count);
}

void activate(Activation activation, const double* gate, const double* up, double* a, int64_t count) {
  forward(activation, gate, up, a, count);
}

SWITCHYARD_VECTORIZED
void activateClamped(float limit, const float* __restrict gate, const float* __restrict up, float* __restrict a,
                     int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const float g = gate[i] > limit ? limit : gate[i];  // NaN stays
    const float below = up[i] > limit ? limit : up[i];
    const float u = below < -limit ? -limit : below;
    a[i] = (u + 1) * g / (1 + fastExp(-1.702f * g));
  }
}

SWITCHYARD_VECTORIZED
float activateBackward(Activation activation, const ActivatedRow<float>& row, float* weighted, float* dGate,
                       float* dUp, int64_t count) {
  return backward(activation, row, weighted, dGate, dUp, count);
}

double activateBackward(Activation activation, const ActivatedRow<double>& row, double* weighted, double* dGate,
                        double* dUp, int64_t count) {
  return backward(activation, row, weighted, dGate, dUp, count);
}

}  // namespace switchyard

// Activations by value and slope.
#pragma once

#include "../common/device.cuh"
#include "activation.h"

namespace switchyard::cuda {

struct ValueAndSlope {
  float value;
  float slope;
};

// Each activation gives its value and its slope at x; what is not used is not computed.

struct SiluAt {
  static __device__ ValueAndSlope compute(float x) {
    const float sigmoid = 1.0f / (1.0f + expf(-x));
    return {x * sigmoid, sigmoid * (1.0f + x * (1.0f - sigmoid))};
  }
};

struct GeluAt {
  static __device__ ValueAndSlope compute(float x) {
    const float cdf = 0.5f * (1.0f + erff(x * 0.70710678118654752440f));
    return {x * cdf, cdf + x * 0.39894228040143267794f * expf(-0.5f * x * x)};
  }
};

struct GeluTanhAt {
  static __device__ ValueAndSlope compute(float x) {
    const float scale = 0.79788456080286535588f;  // sqrt(2 / pi)
    const float tanh = tanhf(scale * (x + 0.044715f * x * x * x));
    const float innerSlope = scale * (1.0f + 3 * 0.044715f * x * x);
    return {0.5f * x * (1.0f + tanh), 0.5f * (1.0f + tanh) + 0.5f * x * (1.0f - tanh * tanh) * innerSlope};
  }
};

struct ReluAt {
  static __device__ ValueAndSlope compute(float x) { return {x > 0 ? x : 0.0f, x > 0 ? 1.0f : 0.0f}; }
};

/** Calls `body` with the activation's struct. */
template <typename Body>
void withActivation(Activation activation, const Body& body) {
  switch (activation) {
    case Activation::Silu:
      return body(SiluAt{});
    case Activation::Gelu:
      return body(GeluAt{});
    case Activation::GeluTanh:
      return body(GeluTanhAt{});
    case Activation::Relu:
      return body(ReluAt{});
  }
}

}  // namespace switchyard::cuda

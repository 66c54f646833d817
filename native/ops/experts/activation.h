// The non-linearity between an expert's projections, forward and backward, row by row.
#pragma once

#include <cstdint>
#include <string>

namespace switchyard {

enum class Activation { Silu, Gelu, GeluTanh, Relu };

/** By the names of nn/activation.ts. Throws c10::Error for another. */
Activation parseActivation(const std::string& name);

/** `a = act(gate) * up`, or `act(gate)` when `up` is null. */
void activate(Activation activation, const float* gate, const float* up, float* a, int64_t count);
void activate(Activation activation, const double* gate, const double* up, double* a, int64_t count);

/** gpt-oss's `a = (u + 1) g sigmoid(1.702 g)` of `g = min(gate, limit)` and `u = clamp(up, +-limit)`; forward alone. */
void activateClamped(float limit, const float* gate, const float* up, float* a, int64_t count);

/** The values of one row that activateBackward() reads. `gradient` is that of the row's output before weighting. */
template <typename T>
struct ActivatedRow {
  T weight;
  const T* gradient;
  const T* gate;
  const T* up;  // null for plain experts
};

/**
 * Returns `sum(gradient * a)`, the gradient of the row's weight; writes `weight * a`, and the gradients of gate and up
 * with the weight applied.
 */
float activateBackward(Activation activation, const ActivatedRow<float>& row, float* weighted, float* dGate,
                       float* dUp, int64_t count);
double activateBackward(Activation activation, const ActivatedRow<double>& row, double* weighted, double* dGate,
                        double* dUp, int64_t count);

}  // namespace switchyard

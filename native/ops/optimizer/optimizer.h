// The optimizer in single passes over all parameters.
#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

struct AdamWSettings {
  double learningRate;
  double beta1;
  double beta2;
  double epsilon;
  double weightDecay;
  int64_t step;           // from 1
  double gradientFactor;  // multiplies every gradient, as clipping does
};

/** See train/optimizer/adamw.ts. Contiguous f32 or f64 tensors of one dtype, on the CPU. */
void adamW(at::TensorList parameters, at::TensorList gradients, at::TensorList means, at::TensorList squares,
           const AdamWSettings& settings);

/** `s -> a s + b s^3 + c s^5`, so many times. */
struct Quintic {
  double a, b, c;
  int64_t iterations;
};

/** See train/optimizer/newton-schulz.ts. [E, R, I] with R <= I, on the CPU. */
at::Tensor newtonSchulz(const at::Tensor& matrices, const Quintic& quintic);

/** Euclidean norm over all tensors as one vector, summed in double precision. */
double vectorNorm(at::TensorList tensors);

}  // namespace switchyard

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

/** Euclidean norm over all tensors as one vector, summed in double precision. */
double vectorNorm(at::TensorList tensors);

}  // namespace switchyard

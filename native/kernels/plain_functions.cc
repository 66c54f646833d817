// Kernels that nothing is differentiated through, as libtorch operators.

#include <torch/library.h>

#include "dequantize.h"
#include "optimizer.h"

namespace switchyard {
namespace {

void adamWStep(at::TensorList parameters, at::TensorList gradients, at::TensorList means, at::TensorList squares,
               double learningRate, double beta1, double beta2, double epsilon, double weightDecay, int64_t step,
               double gradientFactor) {
  adamW(parameters, gradients, means, squares,
        {learningRate, beta1, beta2, epsilon, weightDecay, step, gradientFactor});
}

}  // namespace

TORCH_LIBRARY(switchyard, library) {
  library.def(
      "adamw_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] means, Tensor(c!)[] squares, "
      "float learning_rate, float beta1, float beta2, float epsilon, float weight_decay, int step, "
      "float gradient_factor=1) -> ()",
      &adamWStep);
  library.def("vector_norm(Tensor[] tensors) -> float", &vectorNorm);
  library.def("dequantize(Tensor bytes, str type) -> Tensor", &dequantize);
  library.def("quantize(Tensor values, str type) -> Tensor", &quantize);
  library.def("dequantize_pairs(Tensor blocks, Tensor scales) -> Tensor", &dequantizePairs);
  library.def("dequantize_float8(Tensor bytes, Tensor scales) -> Tensor", &dequantizeFloat8);
}

}  // namespace switchyard

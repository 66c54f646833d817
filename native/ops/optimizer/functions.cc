// The optimizer as libtorch operators.

#include <torch/library.h>

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

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def(
      "adamw_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] means, Tensor(c!)[] squares, "
      "float learning_rate, float beta1, float beta2, float epsilon, float weight_decay, int step, "
      "float gradient_factor=1) -> ()",
      &adamWStep);
  library.def("newton_schulz(Tensor matrices, float a, float b, float c, int iterations) -> Tensor",
              [](const at::Tensor& matrices, double a, double b, double c, int64_t iterations) {
                return newtonSchulz(matrices, {a, b, c, iterations});
              });
  library.def("vector_norm(Tensor[] tensors) -> float", &vectorNorm);
  library.def(
      "adamw_mixed_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] means, Tensor(c!)[] squares, "
      "Tensor(d!)[] masters, Tensor settings, Tensor norm, float clip) -> ()");
  library.def("gradient_norm(Tensor[] gradients) -> Tensor");
}

}  // namespace switchyard

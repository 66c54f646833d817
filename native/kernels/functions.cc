// The kernels as libtorch operators with autograd: torch.ops.switchyard in Python, callOperator() in TypeScript.

#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <limits>

#include "attention.h"
#include "dequantize.h"
#include "experts.h"
#include "linear_cross_entropy.h"
#include "optimizer.h"
#include "rms_norm.h"
#include "routing.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

void requireCpu(std::initializer_list<at::Tensor> tensors) {
  for (const at::Tensor& tensor : tensors) {
    TORCH_CHECK(!tensor.defined() || tensor.is_cpu(), "this kernel computes on the cpu, got a tensor on ", tensor.device());
  }
}

/** Backward itself records nothing, so that a second derivative would silently lack its part. */
void refuseSecondDerivative() {
  TORCH_CHECK(!c10::GradMode::is_enabled(),
              "kernels have no second derivative: switch them off to use createGraph (SWITCHYARD_KERNELS=none)");
}

bool anyRequiresGrad(std::initializer_list<at::Tensor> tensors) {
  return c10::GradMode::is_enabled() &&
         std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& tensor) { return tensor.requires_grad(); });
}

// --- experts ------------------------------------------------------------------------------------------------

struct ExpertsFunction : Function<ExpertsFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& indices,
                            const at::Tensor& weights, const at::Tensor& up, const at::Tensor& down,
                            const std::string& activation, bool gated, bool keepHidden) {
    const auto [y, hidden] = expertsForward(x, indices, weights, {up, down, activation, gated}, keepHidden);
    context->save_for_backward({x, indices, weights, up, down, hidden});
    context->saved_data["activation"] = activation;
    context->saved_data["gated"] = gated;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const ExpertWeights experts{saved[3], saved[4], context->saved_data["activation"].toStringRef(),
                                context->saved_data["gated"].toBool()};
    const ExpertsGradients d = expertsBackward(gradients[0], saved[0], saved[1], saved[2], saved[5], experts);
    return {d.x, {}, d.weights, d.up, d.down, {}, {}, {}};
  }
};

at::Tensor experts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& up,
                   const at::Tensor& down, std::string activation, bool gated) {
  requireCpu({x, indices, weights, up, down});
  const bool keepHidden = anyRequiresGrad({x, weights, up, down});
  return ExpertsFunction::apply(x, indices, weights, up, down, activation, gated, keepHidden);
}

// --- route --------------------------------------------------------------------------------------------------

struct RouteFunction : Function<RouteFunction> {
  static variable_list forward(AutogradContext* context, const at::Tensor& logits, int64_t k, bool normalize) {
    const Routed routed = routeForward(logits, k, normalize);
    context->save_for_backward({routed.weights, routed.indices, routed.probs});
    context->saved_data["normalize"] = normalize;
    context->mark_non_differentiable({routed.indices});
    context->set_materialize_grads(false);
    return {routed.weights, routed.indices, routed.probs};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const bool normalize = context->saved_data["normalize"].toBool();
    return {routeBackward(gradients[0], gradients[2], {saved[0], saved[1], saved[2]}, normalize), {}, {}};
  }
};

std::tuple<at::Tensor, at::Tensor, at::Tensor> route(const at::Tensor& logits, int64_t k, bool normalize) {
  requireCpu({logits});
  const variable_list routed = RouteFunction::apply(logits, k, normalize);
  return {routed[0], routed[1], routed[2]};
}

// --- rms_norm -----------------------------------------------------------------------------------------------

struct RmsNormFunction : Function<RmsNormFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double eps) {
    const auto [y, scale] = rmsNormForward(x, weight, eps);
    context->save_for_backward({x, weight, scale});
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const auto [dX, dWeight] = rmsNormBackward(gradients[0], saved[0], saved[1], saved[2]);
    return {dX, dWeight, {}};
  }
};

at::Tensor rmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  requireCpu({x, weight});
  return RmsNormFunction::apply(x, weight, eps);
}

// --- causal_attention ---------------------------------------------------------------------------------------

struct AttentionFunction : Function<AttentionFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& queries, const at::Tensor& keys,
                            const at::Tensor& values, const at::Tensor& cos, const at::Tensor& sin, int64_t headDim,
                            int64_t window) {
    const auto [out, logSums] = attentionForward({queries, keys, values, cos, sin, headDim, window});
    context->save_for_backward({queries, keys, values, cos, sin, out, logSums});
    context->saved_data["headDim"] = headDim;
    context->saved_data["window"] = window;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const AttentionInputs inputs{saved[0], saved[1], saved[2], saved[3], saved[4],
                                 context->saved_data["headDim"].toInt(), context->saved_data["window"].toInt()};
    const auto [dQueries, dKeys, dValues] = attentionBackward(gradients[0], inputs, saved[5], saved[6]);
    return {dQueries, dKeys, dValues, {}, {}, {}, {}};
  }
};

at::Tensor causalAttention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                           const at::Tensor& cos, const at::Tensor& sin, int64_t headDim,
                           c10::optional<int64_t> window) {
  requireCpu({queries, keys, values, cos, sin});
  const int64_t everything = std::numeric_limits<int32_t>::max();
  return AttentionFunction::apply(queries, keys, values, cos, sin, headDim, window.value_or(everything));
}

// --- linear_cross_entropy -----------------------------------------------------------------------------------

struct LinearCrossEntropyFunction : Function<LinearCrossEntropyFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                            const at::Tensor& targets, int64_t ignored, bool withGradients) {
    const LinearCrossEntropy result = linearCrossEntropy(hidden, weight, targets, ignored, withGradients);
    context->save_for_backward({result.dHidden, result.dWeight});
    return result.loss;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const double factor = gradients[0].item<double>();
    if (factor == 1) return {saved[0], saved[1], {}, {}, {}};
    return {saved[0].mul(factor), saved[1].mul(factor), {}, {}, {}};
  }
};

at::Tensor linearCrossEntropyLoss(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                  int64_t ignored) {
  requireCpu({hidden, weight, targets});
  return LinearCrossEntropyFunction::apply(hidden, weight, targets, ignored, anyRequiresGrad({hidden, weight}));
}

// --- the optimizer, which nothing is differentiated through -----------------------------------------------------

void adamWStep(at::TensorList parameters, at::TensorList gradients, at::TensorList means, at::TensorList squares,
               double learningRate, double beta1, double beta2, double epsilon, double weightDecay, int64_t step,
               double gradientFactor) {
  adamW(parameters, gradients, means, squares,
        {learningRate, beta1, beta2, epsilon, weightDecay, step, gradientFactor});
}

}  // namespace

TORCH_LIBRARY(switchyard, library) {
  library.def(
      "experts(Tensor x, Tensor indices, Tensor weights, Tensor up, Tensor down, str activation, bool gated) -> Tensor",
      &experts);
  library.def("route(Tensor logits, int k, bool normalize) -> (Tensor weights, Tensor indices, Tensor probs)", &route);
  library.def("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor", &rmsNorm);
  library.def(
      "causal_attention(Tensor queries, Tensor keys, Tensor values, Tensor cos, Tensor sin, int head_dim, "
      "int? window=None) -> Tensor",
      &causalAttention);
  library.def("linear_cross_entropy(Tensor hidden, Tensor weight, Tensor targets, int ignored=-100) -> Tensor",
              &linearCrossEntropyLoss);
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

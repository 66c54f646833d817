// The kernels as libtorch operators with autograd: torch.ops.switchyard in Python, callOperator() in TypeScript.

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <limits>

#include "../version.h"

#include "attention.h"
#include "dequantize.h"
#include "experts.h"
#include "grouped_experts.h"
#include "leaves.h"
#include "linear_cross_entropy.h"
#include "optimizer.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/** Whether the CPU's own kernels compute on this: they know f32 and f64. All else goes by leaves. */
bool hasOwnKernel(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
}

/** One type and device for all: `name` says what of. */
void requireAlike(const char* name, const at::Tensor& x, std::initializer_list<at::Tensor> others) {
  for (const at::Tensor& other : others) {
    TORCH_CHECK(other.scalar_type() == x.scalar_type() && other.device() == x.device(), name, " are ",
                other.scalar_type(), " on ", other.device(), ", the input is ", x.scalar_type(), " on ", x.device());
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

struct GroupedExpertsFunction : Function<GroupedExpertsFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& indices,
                            const at::Tensor& weights, const at::Tensor& up, const at::Tensor& down,
                            const std::string& activation, bool gated) {
    const auto [y, hidden, sorted] = groupedExpertsForward(x, indices, weights, {up, down, activation, gated});
    context->save_for_backward(
        {x, weights, up, down, hidden, sorted.rowOfSlot, sorted.slotOfRow, sorted.ends});
    context->saved_data["activation"] = activation;
    context->saved_data["gated"] = gated;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const ExpertWeights experts{saved[2], saved[3], context->saved_data["activation"].toStringRef(),
                                context->saved_data["gated"].toBool()};
    const ExpertsGradients d = groupedExpertsBackward(gradients[0].contiguous(), saved[0], saved[1], saved[4],
                                                      {saved[5], saved[6], saved[7]}, experts);
    return {d.x, {}, d.weights, d.up, d.down, {}, {}};
  }
};

/** So few rows are bound by the bytes of the weights that they read: they go to the matrices, not in groups. */
constexpr int64_t kFewRows = 64;

at::Tensor groupedExperts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights,
                          const at::Tensor& up, const at::Tensor& down, std::string activation, bool gated) {
  requireAlike("weights of experts", x, {up, down});
  const at::Tensor packed = x.contiguous(), chosen = indices.contiguous();
  const at::Tensor shares = weights.to(accumulatorOf(x)).contiguous();
  if (x.is_cuda() && chosen.numel() <= kFewRows && !anyRequiresGrad({x, weights, up, down})) {
    return leaf::expertsGemv(packed, chosen, shares, up, down, activation, gated);
  }
  return GroupedExpertsFunction::apply(packed, chosen, shares, up, down, activation, gated);
}

at::Tensor experts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& up,
                   const at::Tensor& down, std::string activation, bool gated) {
  if (!hasOwnKernel(x)) return groupedExperts(x, indices, weights, up, down, activation, gated);
  requireAlike("weights of experts", x, {up, down});
  const at::Tensor shares = weights.to(x.scalar_type());
  const bool keepHidden = anyRequiresGrad({x, weights, up, down});
  return ExpertsFunction::apply(x, indices, shares, up, down, activation, gated, keepHidden);
}

// --- route --------------------------------------------------------------------------------------------------

struct RouteFunction : Function<RouteFunction> {
  static variable_list forward(AutogradContext* context, const at::Tensor& logits, int64_t k, bool normalize) {
    const Routed routed = leaf::route(logits, k, normalize);
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
    return {leaf::routeBackward(gradients[0], gradients[2], {saved[0], saved[1], saved[2]}, normalize), {}, {}};
  }
};

std::tuple<at::Tensor, at::Tensor, at::Tensor> route(const at::Tensor& logits, int64_t k, bool normalize) {
  const variable_list routed = RouteFunction::apply(logits, k, normalize);
  return {routed[0], routed[1], routed[2]};
}

// --- rms_norm -----------------------------------------------------------------------------------------------

struct RmsNormFunction : Function<RmsNormFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double eps) {
    const auto [y, scale] = leaf::rmsNorm(x, weight, eps);
    context->save_for_backward({x, weight, scale});
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const auto [dX, dWeight] = leaf::rmsNormBackward(gradients[0], saved[0], saved[1], saved[2]);
    return {dX, dWeight, {}};
  }
};

at::Tensor rmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
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

struct RotateFunction : Function<RotateFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return leaf::rotate(x, cos, sin, false);
  }

  /** A rotation's transpose turns back. */
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    return {leaf::rotate(gradients[0], saved[0], saved[1], true), {}, {}};
  }
};

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  return RotateFunction::apply(x, cos, sin);
}

#if SWITCHYARD_TORCH_AT_LEAST(2, 5)
/** While it lives cuDNN is not chosen: with a mask its backward gives NaN at some lengths (pytorch/pytorch#196678). */
class WithoutCudnn {
 public:
  WithoutCudnn() { at::globalContext().setSDPUseCuDNN(false); }
  ~WithoutCudnn() { at::globalContext().setSDPUseCuDNN(before_); }
  WithoutCudnn(const WithoutCudnn&) = delete;
  WithoutCudnn& operator=(const WithoutCudnn&) = delete;

 private:
  const bool before_ = at::globalContext().userEnabledCuDNNSDP();
};
#endif

/** libtorch's attention (cuDNN's or flash on CUDA), with positions turned by a leaf; all in [B, T, heads * D]. */
at::Tensor sharedAttention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                           const at::Tensor& cos, const at::Tensor& sin, int64_t headDim,
                           c10::optional<int64_t> window) {
#if SWITCHYARD_TORCH_AT_LEAST(2, 5)
  const auto heads = [&](const at::Tensor& x) { return x.view({x.size(0), x.size(1), -1, headDim}); };
  const at::Tensor q = rotate(heads(queries), cos, sin).transpose(1, 2);  // [B, H, T, D]
  at::Tensor k = rotate(heads(keys), cos, sin).transpose(1, 2);           // [B, G, T, D]
  at::Tensor v = heads(values).transpose(1, 2);
  const int64_t length = queries.size(1);
  c10::optional<at::Tensor> seen;
  if (window.value_or(length) < length) {
    seen = at::ones({length, length}, queries.options().dtype(at::kBool)).tril().triu(1 - *window);
  }
  // With a mask or in f32, heads that share keys are known only to the slowest way.
  if (seen.has_value() || queries.scalar_type() == at::kFloat) {
    k = k.repeat_interleave(q.size(1) / k.size(1), 1);
    v = v.repeat_interleave(q.size(1) / v.size(1), 1);
  }
  const bool shared = k.size(1) != q.size(1);
  c10::optional<WithoutCudnn> masked;
  if (seen.has_value()) masked.emplace();
  return at::scaled_dot_product_attention(q, k, v, seen, 0.0, !seen.has_value(), c10::nullopt, shared)
      .transpose(1, 2)
      .flatten(2);
#else
  TORCH_CHECK(false, "attention on ", queries.device(), " in ", queries.scalar_type(), " needs libtorch 2.5 or newer");
#endif
}

at::Tensor causalAttention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                           const at::Tensor& cos, const at::Tensor& sin, int64_t headDim,
                           c10::optional<int64_t> window) {
  if (!hasOwnKernel(queries)) return sharedAttention(queries, keys, values, cos, sin, headDim, window);
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

/** The same by leaves. Backward multiplies on the device by what it is given, so that nobody waits for that number. */
struct ChunkedCrossEntropyFunction : Function<ChunkedCrossEntropyFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                            const at::Tensor& targets, int64_t ignored, int64_t rows, bool withGradients) {
    const ChunkedCrossEntropy result = chunkedCrossEntropy(hidden, weight, targets, ignored, rows, withGradients);
    context->save_for_backward({result.dHidden, result.dWeight, result.share});
    context->saved_data["hidden"] = static_cast<int64_t>(hidden.scalar_type());
    return result.loss;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const auto type = static_cast<at::ScalarType>(context->saved_data["hidden"].toInt());
    const at::Tensor factor = gradients[0].mul(saved[2]);  // 1 / N and the loss scale: half precision would round it
    const at::Tensor dHidden = saved[0].to(factor.scalar_type()).mul(factor).to(type);
    return {dHidden, saved[1].mul(factor).to(type), {}, {}, {}, {}};
  }
};

at::Tensor chunkedLoss(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets, int64_t ignored,
                       int64_t rows) {
  requireAlike("the head's weights", hidden, {weight});
  return ChunkedCrossEntropyFunction::apply(hidden, weight, targets, ignored, rows, anyRequiresGrad({hidden, weight}));
}

at::Tensor linearCrossEntropyLoss(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                  int64_t ignored) {
  if (!hasOwnKernel(hidden)) return chunkedLoss(hidden, weight, targets, ignored, rowsOfChunk(weight));
  requireAlike("the head's weights", hidden, {weight});
  return LinearCrossEntropyFunction::apply(hidden, weight, targets, ignored, anyRequiresGrad({hidden, weight}));
}

// --- the optimizer, which nothing is differentiated through -----------------------------------------------------

void adamWStep(at::TensorList parameters, at::TensorList gradients, at::TensorList means, at::TensorList squares,
               double learningRate, double beta1, double beta2, double epsilon, double weightDecay, int64_t step,
               double gradientFactor) {
  adamW(parameters, gradients, means, squares,
        {learningRate, beta1, beta2, epsilon, weightDecay, step, gradientFactor});
}

// --- mixed precision: what narrows its inputs, as matmul does -----------------------------------------------------

at::ScalarType autocastType() {
#if SWITCHYARD_TORCH_AT_LEAST(2, 4)
  return at::autocast::get_autocast_dtype(at::kCUDA);
#else
  return at::autocast::get_autocast_gpu_dtype();
#endif
}

at::Tensor narrowed(const at::Tensor& tensor) {
  return at::autocast::cached_cast(autocastType(), tensor, c10::DeviceType::CUDA);
}

at::Tensor autocastExperts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights,
                           const at::Tensor& up, const at::Tensor& down, std::string activation, bool gated) {
  const c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::AutocastCUDA);
  return experts(narrowed(x), indices, weights, narrowed(up), narrowed(down), activation, gated);
}

at::Tensor autocastCrossEntropy(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                int64_t ignored) {
  const c10::impl::ExcludeDispatchKeyGuard below(c10::DispatchKey::AutocastCUDA);
  return linearCrossEntropyLoss(narrowed(hidden), narrowed(weight), targets, ignored);
}

}  // namespace

TORCH_LIBRARY(switchyard, library) {
  library.def(
      "experts(Tensor x, Tensor indices, Tensor weights, Tensor up, Tensor down, str activation, bool gated) -> Tensor",
      &experts);
  library.def(
      "experts_grouped(Tensor x, Tensor indices, Tensor weights, Tensor up, Tensor down, str activation, bool gated) "
      "-> Tensor",
      &groupedExperts);
  library.def("route(Tensor logits, int k, bool normalize) -> (Tensor weights, Tensor indices, Tensor probs)", &route);
  library.def("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor", &rmsNorm);
  library.def("rotate(Tensor x, Tensor cos, Tensor sin) -> Tensor", &rotate);
  library.def(
      "causal_attention(Tensor queries, Tensor keys, Tensor values, Tensor cos, Tensor sin, int head_dim, "
      "int? window=None) -> Tensor",
      &causalAttention);
  library.def("linear_cross_entropy(Tensor hidden, Tensor weight, Tensor targets, int ignored=-100) -> Tensor",
              &linearCrossEntropyLoss);
  library.def(
      "linear_cross_entropy_chunked(Tensor hidden, Tensor weight, Tensor targets, int ignored, int rows) -> Tensor",
      &chunkedLoss);
  library.def(
      "attention_shared(Tensor queries, Tensor keys, Tensor values, Tensor cos, Tensor sin, int head_dim, "
      "int? window=None) -> Tensor",
      &sharedAttention);
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

TORCH_LIBRARY_IMPL(switchyard, AutocastCUDA, library) {
  library.impl("experts", &autocastExperts);
  library.impl("linear_cross_entropy", &autocastCrossEntropy);
}

}  // namespace switchyard

// Positions and attention as libtorch operators with autograd.

#include <ATen/Context.h>

#include <limits>

#include "../common/functions.h"
#include "cached_attention.h"
#include "causal_attention.h"
#include "leaves.h"

namespace switchyard {
namespace {

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
  if (!anyRequiresGrad({x})) return leaf::rotate(x, cos, sin, false);
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

at::Tensor autocastAttention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                             const at::Tensor& cos, const at::Tensor& sin, int64_t headDim,
                             c10::optional<int64_t> window) {
  const c10::impl::ExcludeDispatchKeyGuard below(AutocastCpu::key);
  const auto narrow = &AutocastCpu::narrowed;
  return causalAttention(narrow(queries), narrow(keys), narrow(values), cos, sin, headDim, window);
}

at::Tensor attentionCached(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                           at::IntArrayRef starts, const at::Tensor& lengths, const at::Tensor& pages, double scale,
                           int64_t window, const c10::optional<at::Tensor>& sinks) {
  TORCH_CHECK(!anyRequiresGrad({queries, keys, values}), "attention over a cache has no gradient: use noGrad()");
  TORCH_CHECK(lengths.scalar_type() == at::kLong && lengths.dim() == 1 && lengths.is_cpu() && lengths.is_contiguous(),
              "lengths must be contiguous i64 [B] on the cpu, got ", lengths.scalar_type(), " ", lengths.sizes());
  TORCH_CHECK(pages.scalar_type() == at::kLong && pages.dim() == 2 && pages.size(0) == lengths.numel() &&
                  pages.is_cpu() && pages.is_contiguous(),
              "pages must be contiguous i64 [", lengths.numel(), ", M] on the cpu, got ", pages.scalar_type(), " ", pages.sizes());
  const auto numbers = [](const at::Tensor& x) { return at::IntArrayRef(x.data_ptr<int64_t>(), x.numel()); };
  return cachedAttention({queries, keys, values, starts, numbers(lengths), numbers(pages), scale, window,
                          sinks.value_or(at::Tensor())});
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("rotate(Tensor x, Tensor cos, Tensor sin) -> Tensor", &rotate);
  library.def(
      "causal_attention(Tensor queries, Tensor keys, Tensor values, Tensor cos, Tensor sin, int head_dim, "
      "int? window=None) -> Tensor",
      &causalAttention);
  library.def(
      "attention_shared(Tensor queries, Tensor keys, Tensor values, Tensor cos, Tensor sin, int head_dim, "
      "int? window=None) -> Tensor",
      &sharedAttention);
  library.def(
      "attention_cached(Tensor queries, Tensor keys, Tensor values, int[] starts, Tensor lengths, Tensor pages, "
      "float scale, int window=0, Tensor? sinks=None) -> Tensor");
}

TORCH_LIBRARY_IMPL(switchyard, CPU, library) { library.impl("attention_cached", &attentionCached); }
TORCH_LIBRARY_IMPL(switchyard, AutocastCPU, library) { library.impl("causal_attention", &autocastAttention); }

}  // namespace switchyard

// The operators of routers, norms, attention and loss on the device. Shapes as in native/kernels/leaves.h.

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include "attention_decode.h"
#include "cross_entropy.h"
#include "operators.h"
#include "rms_norm.h"
#include "rotate.h"
#include "routing.h"

namespace switchyard::cuda {
namespace {

using OptionalTensor = c10::optional<at::Tensor>;
using Three = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

// --- routing --------------------------------------------------------------------------------------------------------

Three routeForward(const at::Tensor& logits, int64_t k, bool normalize) {
  requireDimensions(logits, 2, "logits");
  const int64_t tokens = logits.size(0), experts = logits.size(1);
  require(logits, logits, {"logits", at::kFloat, {tokens, experts}});
  TORCH_CHECK(experts <= 1024, "logits must be of at most 1024 experts, got ", experts);
  TORCH_CHECK(k >= 1 && k <= experts, "k must be in 1..", experts, ", got ", k);
  const OnDevice device(logits);
  const at::Tensor packed = logits.contiguous();
  at::Tensor weights = at::empty({tokens, k}, logits.options()), probs = at::empty(logits.sizes(), logits.options());
  at::Tensor indices = at::empty({tokens, k}, optionsOf(logits, at::kLong));
  launchRoute({packed.data_ptr<float>(), weights.data_ptr<float>(), indices.data_ptr<int64_t>(),
               probs.data_ptr<float>(), tokens, static_cast<int>(experts), static_cast<int>(k), normalize},
              device.stream());
  return {weights, indices, probs};
}

at::Tensor routeBackward(const OptionalTensor& dWeights, const OptionalTensor& dProbs, const at::Tensor& weights,
                         const at::Tensor& indices, const at::Tensor& probs, bool normalize) {
  requireDimensions(probs, 2, "probs");
  requireDimensions(indices, 2, "indices");
  const int64_t tokens = probs.size(0), experts = probs.size(1), k = indices.size(1);
  require(probs, probs, {"probs", at::kFloat, {tokens, experts}});
  require(weights, probs, {"weights", at::kFloat, {tokens, k}});
  require(indices, probs, {"indices", at::kLong, {tokens, k}});
  const auto gradient = [&](const OptionalTensor& given, const char* name, const at::Tensor& of) {
    if (!given.has_value()) return at::Tensor();
    require(*given, probs, {name, at::kFloat, of.sizes().vec()});
    return given->contiguous();
  };
  const OnDevice device(probs);
  const at::Tensor packedWeights = gradient(dWeights, "d_weights", weights), packedProbs = gradient(dProbs, "d_probs", probs);
  const at::Tensor w = weights.contiguous(), chosen = indices.contiguous(), p = probs.contiguous();
  at::Tensor dLogits = at::empty(probs.sizes(), probs.options());
  launchRouteBackward({dataOrNull<float>(packedWeights), dataOrNull<float>(packedProbs), w.data_ptr<float>(),
                       chosen.data_ptr<int64_t>(), p.data_ptr<float>(), dLogits.data_ptr<float>(), tokens,
                       static_cast<int>(experts), static_cast<int>(k), normalize},
                      device.stream());
  return dLogits;
}

// --- norm -----------------------------------------------------------------------------------------------------------

int64_t rowsOf(const at::Tensor& x, const at::Tensor& weight) {
  TORCH_CHECK(x.dim() >= 1 && weight.dim() == 1, "weight ", weight.sizes(), " does not fit x ", x.sizes());
  require(weight, x, {"weight", x.scalar_type(), {x.size(-1)}});
  return x.size(-1) == 0 ? 0 : x.numel() / x.size(-1);
}

std::tuple<at::Tensor, at::Tensor> rmsNormForward(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const int64_t rows = rowsOf(x, weight), width = weight.size(0);
  const OnDevice device(x);
  const at::Tensor from = x.contiguous(), factors = weight.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options()), scale = at::empty({rows}, optionsOf(x, at::kFloat));
  launchRmsNorm({elementOf(x, "x"), from.data_ptr(), factors.data_ptr(), y.data_ptr(), scale.data_ptr<float>(),
                 static_cast<float>(eps), rows, width},
                device.stream());
  return {y, scale};
}

std::tuple<at::Tensor, at::Tensor> rmsNormBackward(const at::Tensor& dY, const at::Tensor& x, const at::Tensor& weight,
                                                   const at::Tensor& scale) {
  const int64_t rows = rowsOf(x, weight), width = weight.size(0);
  require(dY, x, {"d_y", x.scalar_type(), x.sizes().vec()});
  require(scale, x, {"scale", at::kFloat, {rows}});
  TORCH_CHECK(width <= kWidestNorm, "the last dimension must be at most ", kWidestNorm, ", got ", width);
  const OnDevice device(x);
  const at::Tensor gradient = dY.contiguous(), from = x.contiguous(), factors = weight.contiguous();
  const at::Tensor scales = scale.contiguous();
  at::Tensor dX = at::empty(x.sizes(), x.options()), dWeight = at::empty(weight.sizes(), weight.options());
  at::Tensor parts = at::empty({rmsNormParts(rows), width}, optionsOf(x, at::kFloat));
  launchRmsNormBackward({elementOf(x, "x"), gradient.data_ptr(), from.data_ptr(), factors.data_ptr(),
                         scales.data_ptr<float>(), dX.data_ptr(), dWeight.data_ptr(), parts.data_ptr<float>(), rows, width},
                        device.stream());
  return {dX, dWeight};
}

// --- attention ------------------------------------------------------------------------------------------------------

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  requireDimensions(x, 4, "x");
  const int64_t batch = x.size(0), positions = x.size(1), heads = x.size(2), width = x.size(3);
  TORCH_CHECK(cos.dim() == 2 || cos.dim() == 3, "cos must be [T, R] or [B, T, R], got ", cos.sizes());
  const int64_t rotated = cos.size(-1);
  TORCH_CHECK(rotated % 2 == 0 && rotated <= width, "cos must turn an even number of at most ", width,
              " dimensions, got ", rotated);
  const bool perSequence = cos.dim() == 3;
  const std::vector<int64_t> angles =
      perSequence ? std::vector<int64_t>{batch, positions, rotated} : std::vector<int64_t>{positions, rotated};
  require(cos, x, {"cos", at::kFloat, angles});
  require(sin, x, {"sin", at::kFloat, angles});
  TORCH_CHECK(x.numel() == 0 || x.numel() / width <= INT32_MAX, "x has too many rows: ", x.sizes());
  const OnDevice device(x);
  const at::Tensor from = x.stride(3) == 1 ? x : x.contiguous(), c = cos.contiguous(), s = sin.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options(), at::MemoryFormat::Contiguous);
  launchRotate({elementOf(x, "x"), from.data_ptr(), {from.stride(0), from.stride(1), from.stride(2)},
                c.data_ptr<float>(), s.data_ptr<float>(), perSequence ? positions * rotated : 0, y.data_ptr(), batch,
                positions, heads, width, rotated, inverse},
               device.stream());
  return y;
}

at::Tensor attentionDecode(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values,
                           const at::Tensor& lengths, double scale, int64_t window) {
  requireDimensions(queries, 3, "queries");
  requireDimensions(keys, 4, "keys");
  requireDimensions(values, 4, "values");
  const int64_t batch = queries.size(0), heads = queries.size(1), width = queries.size(2);
  const int64_t groups = keys.size(1), capacity = keys.size(2), valueWidth = values.size(3);
  TORCH_CHECK(groups > 0 && heads % groups == 0, heads, " heads cannot be divided into ", groups, " groups");
  require(keys, queries, {"keys", queries.scalar_type(), {batch, groups, capacity, width}});
  require(values, queries, {"values", queries.scalar_type(), {batch, groups, capacity, valueWidth}});
  require(lengths, queries, {"lengths", at::kInt, {batch}});
  TORCH_CHECK(keys.is_contiguous() && values.is_contiguous(), "keys and values must be contiguous, as the cache is");
  const OnDevice device(queries);
  const at::Tensor q = queries.contiguous(), filled = lengths.contiguous();
  const int64_t splits = decodeSplits(batch, groups, capacity);
  at::Tensor parts = at::empty({batch * heads, splits, valueWidth + 2}, optionsOf(queries, at::kFloat));
  at::Tensor y = at::empty({batch, heads, valueWidth}, queries.options());
  launchAttentionDecode({elementOf(queries, "queries"), q.data_ptr(), keys.data_ptr(), values.data_ptr(),
                         filled.data_ptr<int32_t>(), parts.data_ptr<float>(), y.data_ptr(), static_cast<float>(scale),
                         window, batch, heads, groups, capacity, width, valueWidth, splits},
                        device.stream());
  return y;
}

// --- loss -----------------------------------------------------------------------------------------------------------

at::Tensor crossEntropy(at::Tensor logits, const at::Tensor& targets, int64_t ignored) {
  requireDimensions(logits, 2, "logits");
  const int64_t rows = logits.size(0), width = logits.size(1);
  require(targets, logits, {"targets", at::kLong, {rows}});
  const OnDevice device(logits);
  const at::Tensor wanted = targets.contiguous();
  at::Tensor losses = at::empty({rows}, optionsOf(logits, at::kFloat));
  beginWriting(logits, "logits");
  launchCrossEntropy({elementOf(logits, "logits"), logits.data_ptr(), wanted.data_ptr<int64_t>(),
                      losses.data_ptr<float>(), ignored, rows, width},
                     device.stream());
  return losses;
}

}  // namespace

SWITCHYARD_DEVICE_OPERATORS(library) {
  library.impl("route_forward", &routeForward);
  library.impl("route_backward", &routeBackward);
  library.impl("rms_norm_forward", &rmsNormForward);
  library.impl("rms_norm_backward", &rmsNormBackward);
  library.impl("rotate_forward", &rotate);
  library.impl("attention_decode", &attentionDecode);
  library.impl("cross_entropy_", &crossEntropy);
}

}  // namespace switchyard::cuda

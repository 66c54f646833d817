// Shapes: T tokens, E experts, K chosen per token.

#include "routing.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

#include "../common/parallel.h"
#include "../common/simd.h"

namespace switchyard {
namespace {

template <typename T>
void softmaxRow(const T* logits, T* probs, int64_t count) {
  const T largest = *std::max_element(logits, logits + count);
  T sum = 0;
  for (int64_t e = 0; e < count; e++) sum += probs[e] = fastExp(logits[e] - largest);
  const T scale = T(1) / sum;
  for (int64_t e = 0; e < count; e++) probs[e] *= scale;
}

/** The k largest by insertion: k is small, and an equal value that comes later stays behind. */
template <typename T>
void chooseRow(const T* probs, int64_t count, int64_t k, int64_t* indices) {
  int64_t filled = 0;
  for (int64_t e = 0; e < count; e++) {
    if (filled == k && !(probs[e] > probs[indices[k - 1]])) continue;
    int64_t at = filled < k ? filled++ : k - 1;
    for (; at > 0 && probs[e] > probs[indices[at - 1]]; at--) indices[at] = indices[at - 1];
    indices[at] = e;
  }
}

template <typename T>
Routed forward(const at::Tensor& logits, int64_t k, bool normalize) {
  const int64_t tokens = logits.size(0), experts = logits.size(1);
  const Routed routed{at::empty({tokens, k}, logits.options()), at::empty({tokens, k}, logits.options().dtype(at::kLong)),
                      at::empty({tokens, experts}, logits.options())};
  parallelRange(tokens, 256, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      T* probs = routed.probs.data_ptr<T>() + t * experts;
      int64_t* indices = routed.indices.data_ptr<int64_t>() + t * k;
      T* weights = routed.weights.data_ptr<T>() + t * k;
      softmaxRow(logits.data_ptr<T>() + t * experts, probs, experts);
      chooseRow(probs, experts, k, indices);
      T sum = 0;
      for (int64_t i = 0; i < k; i++) sum += weights[i] = probs[indices[i]];
      if (normalize) {
        for (int64_t i = 0; i < k; i++) weights[i] /= sum;
      }
    }
  });
  return routed;
}

/** `dz = p (dp - sum p dp)`, where dp also holds what comes through the weights. */
template <typename T>
at::Tensor backward(const at::Tensor& dWeights, const at::Tensor& dProbs, const Routed& routed, bool normalize) {
  const int64_t tokens = routed.probs.size(0), experts = routed.probs.size(1), k = routed.indices.size(1);
  at::Tensor dLogits = at::empty(routed.probs.sizes(), routed.probs.options());
  parallelRange(tokens, 256, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      T* d = dLogits.data_ptr<T>() + t * experts;
      if (dProbs.defined()) {
        std::copy_n(dProbs.data_ptr<T>() + t * experts, experts, d);
      } else {
        std::fill_n(d, experts, T(0));
      }
      const T* probs = routed.probs.data_ptr<T>() + t * experts;
      if (dWeights.defined()) {
        const int64_t* indices = routed.indices.data_ptr<int64_t>() + t * k;
        const T* weights = routed.weights.data_ptr<T>() + t * k;
        const T* gradient = dWeights.data_ptr<T>() + t * k;
        T mean = 0, sum = 0;
        for (int64_t i = 0; i < k; i++) {
          mean += gradient[i] * weights[i];
          sum += probs[indices[i]];
        }
        for (int64_t i = 0; i < k; i++) d[indices[i]] += normalize ? (gradient[i] - mean) / sum : gradient[i];
      }
      T dot = 0;
      for (int64_t e = 0; e < experts; e++) dot += probs[e] * d[e];
      for (int64_t e = 0; e < experts; e++) d[e] = probs[e] * (d[e] - dot);
    }
  });
  return dLogits;
}

}  // namespace

Routed routeForward(const at::Tensor& logits, int64_t k, bool normalize) {
  TORCH_CHECK(logits.dim() == 2, "logits need two dimensions, have ", logits.dim());
  TORCH_CHECK(k >= 1 && k <= logits.size(1), "k must be in 1..", logits.size(1), ", got ", k);
  const at::Tensor packed = logits.contiguous();
  Routed routed;
  AT_DISPATCH_FLOATING_TYPES(logits.scalar_type(), "switchyard::route",
                             [&] { routed = forward<scalar_t>(packed, k, normalize); });
  return routed;
}

at::Tensor routeBackward(const at::Tensor& dWeights, const at::Tensor& dProbs, const Routed& routed, bool normalize) {
  const auto packed = [](const at::Tensor& tensor) { return tensor.defined() ? tensor.contiguous() : tensor; };
  at::Tensor dLogits;
  AT_DISPATCH_FLOATING_TYPES(routed.probs.scalar_type(), "switchyard::route", [&] {
    dLogits = backward<scalar_t>(packed(dWeights), packed(dProbs), routed, normalize);
  });
  return dLogits;
}

}  // namespace switchyard

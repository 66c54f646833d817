// Causal self-attention in blocks of queries: T x T scores of a head never exist at once.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace switchyard {

/** Projected queries [B, T, H*D], keys and values [B, T, G*D], and the angles of positions 0..T-1, [T, D] each. */
struct AttentionInputs {
  at::Tensor queries;
  at::Tensor keys;
  at::Tensor values;
  at::Tensor cos;
  at::Tensor sin;
  int64_t headDim;
  int64_t window;  // positions a query looks back on, itself included
};

/**
 * `softmax(rotate(q) rotate(k)^T / sqrt(D)) v`, each key/value head serving H / G query heads; f32, f64, or bf16 with
 * sums in f32; on the CPU. Returns the output [B, T, H*D] and the scores' logsumexp [B, H, T], which backward needs.
 */
std::tuple<at::Tensor, at::Tensor> attentionForward(const AttentionInputs& inputs);

/** The gradients of queries, keys and values. Scores are computed again (arXiv:2205.14135, algorithm 4). */
std::tuple<at::Tensor, at::Tensor, at::Tensor> attentionBackward(const at::Tensor& dOut, const AttentionInputs& inputs,
                                                                 const at::Tensor& out, const at::Tensor& logSums);

}  // namespace switchyard

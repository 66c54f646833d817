// The language model's head and its loss together: the logits of all tokens never exist at once.
#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

struct LinearCrossEntropy {
  at::Tensor loss;     // [], the mean over counted targets
  at::Tensor dHidden;  // [N, D] and
  at::Tensor dWeight;  // [V, D], gradients of the loss; undefined unless asked for
};

/**
 * Mean of `logsumexp(z) - z_target`, `z = hidden weight^T`, over the targets that are not `ignored`; NaN when none is
 * counted, as libtorch's own. Gradients are computed on the way, since the logits are gone afterwards.
 *
 * @param hidden [N, D], f32, f64 or bf16, on the CPU; the loss of bf16 is f32
 * @param weight [V, D]
 * @param targets i64 [N]
 */
LinearCrossEntropy linearCrossEntropy(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                      int64_t ignored, bool withGradients);

struct ChunkedCrossEntropy {
  at::Tensor loss;     // acc []
  at::Tensor dHidden;  // gradients of the losses' sum; undefined unless asked for
  at::Tensor dWeight;
  at::Tensor share;  // acc []: 1 / counted targets
};

/**
 * The same out of leaves, `rows` tokens at a time, in any floating type and on any device. Gradients are left unscaled: in
 * half precision `1 / counted` would bring small ones below what it can hold.
 */
ChunkedCrossEntropy chunkedCrossEntropy(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                        int64_t ignored, int64_t rows, bool withGradients);

/** Tokens whose logits take half a gigabyte. */
int64_t rowsOfChunk(const at::Tensor& weight);

}  // namespace switchyard

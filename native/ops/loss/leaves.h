// The loss's leaf (common/leaf.h). Shapes: C tokens, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard::leaf {

/** Logits [C, V] become `softmax - onehot`, zero where the target is `ignored`. Returns the losses, acc [C]. */
at::Tensor crossEntropy(const at::Tensor& logits, const at::Tensor& targets, int64_t ignored);

}  // namespace switchyard::leaf

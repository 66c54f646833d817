// Cross entropy of rows of logits, with its gradient: see leaf::crossEntropy in leaves.h.
#pragma once

#include "../common/element.h"

namespace switchyard::cuda {

struct CrossEntropy {
  Element element;
  void* logits;            // [C, V], become softmax - onehot
  const int64_t* targets;  // [C]
  float* losses;           // [C]
  int64_t ignored;         // a target that does not count
  int64_t rows;
  int64_t width;  // V
};

void launchCrossEntropy(const CrossEntropy& loss, cudaStream_t stream);

}  // namespace switchyard::cuda

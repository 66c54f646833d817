// AdamW over many tensors of different types, and the norm of their gradients: see adamw_mixed_ and gradient_norm in
// mixed_optimizer.cc.
#pragma once

#include <vector>

#include "../common/element.h"

namespace switchyard::cuda {

/** What one step does to one tensor; all contiguous. */
struct AdamWTensor {
  void* parameter;
  const void* gradient;
  void* mean;
  void* square;
  float* master;  // null: the parameter itself moves
  int64_t count;
  uint32_t index;  // in the caller's list, for stochastic rounding
};

/** Tensors alike in type. */
struct AdamW {
  Element parameter;
  Element gradient;  // the parameter's, or f32
  Element moment;    // f32 or bf16
  std::vector<AdamWTensor> tensors;
  const float* settings;  // [8], on the device
  const float* norm;      // [], on the device
  float clip;             // none if not positive
};

void launchAdamW(const AdamW& step, cudaStream_t stream);

struct NormTensor {
  const void* values;
  int64_t count;
};

/** Blocks that `launchSquares` uses, each of which leaves a sum. */
int64_t squareSums(const std::vector<NormTensor>& tensors);

/** The sums of squares of all stretches of the tensors. */
void launchSquares(Element element, const std::vector<NormTensor>& tensors, double* sums, cudaStream_t stream);

/** `norm = sqrt(sum of sums)`. */
void launchNorm(const double* sums, int64_t count, float* norm, cudaStream_t stream);

}  // namespace switchyard::cuda

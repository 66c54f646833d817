// RMSNorm over the last dimension: see leaf::rmsNorm and rmsNormBackward in leaves.h.
#pragma once

#include "../common/element.h"

namespace switchyard::cuda {

struct RmsNorm {
  Element element;
  const void* x;       // [N, D]
  const void* weight;  // [D]
  void* y;             // [N, D]
  float* scale;        // [N]
  float eps;
  int64_t rows;
  int64_t width;  // D
};

void launchRmsNorm(const RmsNorm& norm, cudaStream_t stream);

/** The widest row: its weight's gradient is summed in a block's shared memory. */
constexpr int64_t kWidestNorm = 56 << 10;

struct RmsNormBackward {
  Element element;
  const void* dY;      // [N, D]
  const void* x;       // [N, D]
  const void* weight;  // [D]
  const float* scale;  // [N]
  void* dX;            // [N, D]
  void* dWeight;       // [D]
  float* parts;        // [rmsNormParts(N), D], scratch
  int64_t rows;
  int64_t width;
};

/** At most so many blocks sum the weight's gradient apart. It depends on the shape alone, and so does the order of sums. */
int64_t rmsNormParts(int64_t rows);

void launchRmsNormBackward(const RmsNormBackward& backward, cudaStream_t stream);

}  // namespace switchyard::cuda

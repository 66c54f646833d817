// Rotary position embedding in the half-split layout: see leaf::rotate in leaves.h.
#pragma once

#include "../common/element.h"

namespace switchyard::cuda {

struct Rotate {
  Element element;
  const void* x;      // [B, T, H, D], the last dimension contiguous
  int64_t strides[3];  // of the others, in elements
  const float* cos;    // [T, R] or [B, T, R]
  const float* sin;
  int64_t angleStride;  // from one sequence's angles to the next one's; 0: all the same
  void* y;              // [B, T, H, D], contiguous
  int64_t batch;
  int64_t positions;
  int64_t heads;
  int64_t width;    // D
  int64_t rotated;  // R, even
  bool inverse;     // turn by -angle
};

void launchRotate(const Rotate& rotate, cudaStream_t stream);

}  // namespace switchyard::cuda

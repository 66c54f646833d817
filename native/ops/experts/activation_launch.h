// The non-linearity between an expert's projections: see leaf::activate and activateBackward in leaves.h.
#pragma once

#include "../common/element.h"
#include "activation.h"

namespace switchyard::cuda {

struct Activate {
  Element element;
  const void* hidden;   // [N, W]
  const int32_t* ends;  // [E]
  void* activated;      // [N, F]
  Activation activation;
  bool gated;  // W = 2F, gate columns first; else W = F
  int64_t rows;
  int64_t width;  // F
  int64_t experts;
};

void launchActivate(const Activate& activate, cudaStream_t stream);

struct ActivateBackward {
  Activate forward;          // `activated` takes weight * a
  const void* dActivated;    // [N, F]
  const float* weights;      // [T * K]
  const int32_t* slotOfRow;  // [N]
  void* dHidden;             // [N, W]
  float* dWeights;           // [T * K], zero before
};

void launchActivateBackward(const ActivateBackward& backward, cudaStream_t stream);

}  // namespace switchyard::cuda

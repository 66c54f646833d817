// All experts on few tokens: see leaf::expertsGemv in leaves.h.
#pragma once

#include "../common/element.h"
#include "activation.h"

namespace switchyard::cuda {

struct ExpertsGemv {
  Element element;
  const void* x;           // [T, D]
  const int64_t* indices;  // [T, K]; what is no expert is an empty slot
  const float* weights;    // [T, K]
  const void* up;          // [E, W, D], gate rows first
  const void* down;        // [E, D, F]
  float* activated;        // [T, K, F], scratch
  void* y;                 // [T, D]
  Activation activation;
  bool gated;
  int64_t tokens;
  int64_t choices;
  int64_t experts;
  int64_t model;  // D
  int64_t width;  // F
};

void launchExpertsGemv(const ExpertsGemv& gemv, cudaStream_t stream);

}  // namespace switchyard::cuda

// Softmax over experts and the choice of the k best: see leaf::route and routeBackward in leaves.h.
#pragma once

#include "../common/element.h"

namespace switchyard::cuda {

struct Route {
  const float* logits;  // [T, E]
  float* weights;       // [T, K]
  int64_t* indices;     // [T, K]
  float* probs;         // [T, E]
  int64_t tokens;
  int experts;  // at most 1024
  int choices;
  bool normalize;
};

void launchRoute(const Route& route, cudaStream_t stream);

struct RouteBackward {
  const float* dWeights;   // [T, K], or null
  const float* dProbs;     // [T, E], or null
  const float* weights;    // [T, K]
  const int64_t* indices;  // [T, K]
  const float* probs;      // [T, E]
  float* dLogits;          // [T, E]
  int64_t tokens;
  int experts;
  int choices;
  bool normalize;
};

void launchRouteBackward(const RouteBackward& backward, cudaStream_t stream);

}  // namespace switchyard::cuda

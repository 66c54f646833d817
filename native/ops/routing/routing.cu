// A warp per token, which holds the probabilities in registers: expert e in thread e % 32.
// Shapes: T tokens, E experts, K chosen per token.

#include "routing_launch.h"

#include <cfloat>
#include <cmath>

#include "../common/row_block.cuh"

namespace switchyard::cuda {
namespace {

constexpr unsigned kThreads = 128;
constexpr int kTokensPerBlock = kThreads / kWarp;

struct Candidate {
  float prob;
  int expert;
};

/** The larger; of equal ones the lower expert. */
__device__ inline Candidate better(Candidate a, Candidate b) {
  const bool first = a.prob > b.prob || (a.prob == b.prob && a.expert < b.expert);
  return first ? a : b;
}

__device__ inline Candidate bestOfWarp(Candidate mine) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    mine = better(mine, Candidate{shuffleXor(mine.prob, offset), shuffleXor(mine.expert, offset)});
  }
  return mine;
}

/** `p = softmax(logits)` in place; experts that do not exist have p = 0. */
template <int P>
__device__ inline void softmax(float (&p)[P], int experts, int lane) {
  float largest = -FLT_MAX;
#pragma unroll
  for (int i = 0; i < P; i++) largest = lane + i * 32 < experts ? fmaxf(largest, p[i]) : largest;
  largest = reduceLanes(largest, kWarp, [](float a, float b) { return fmaxf(a, b); });
  float sum = 0;
#pragma unroll
  for (int i = 0; i < P; i++) {
    p[i] = lane + i * 32 < experts ? expf(p[i] - largest) : 0.0f;
    sum += p[i];
  }
  const float scale = 1.0f / reduceLanes(sum, kWarp, Sum());
#pragma unroll
  for (int i = 0; i < P; i++) p[i] *= scale;
}

/** The best expert of this thread that is not yet `taken`, a bit each. NaN counts as less than any. */
template <int P>
__device__ inline Candidate bestOfThread(const float (&p)[P], uint32_t taken, int experts, int lane) {
  Candidate best{-2.0f, INT32_MAX};
#pragma unroll
  for (int i = 0; i < P; i++) {
    const int expert = lane + i * 32;
    const bool open = expert < experts && (taken >> i & 1) == 0;
    if (open) best = better(best, Candidate{p[i] >= 0 ? p[i] : -1.0f, expert});
  }
  return best;
}

/** P: experts per thread. */
template <int P>
__global__ void __launch_bounds__(kThreads) routeTokens(Route route) {
  const int lane = threadIdx.x % kWarp;
  const int64_t token = static_cast<int64_t>(blockIdx.x) * kTokensPerBlock + threadIdx.x / kWarp;
  if (token >= route.tokens) return;
  const float* logits = route.logits + token * route.experts;
  float* probs = route.probs + token * route.experts;
  float* weights = route.weights + token * route.choices;
  int64_t* indices = route.indices + token * route.choices;
  float p[P];
#pragma unroll
  for (int i = 0; i < P; i++) p[i] = lane + i * 32 < route.experts ? logits[lane + i * 32] : 0.0f;
  softmax(p, route.experts, lane);
#pragma unroll
  for (int i = 0; i < P; i++) {
    if (lane + i * 32 < route.experts) probs[lane + i * 32] = p[i];
  }
  uint32_t taken = 0;
  float sum = 0;
  for (int k = 0; k < route.choices; k++) {
    const Candidate best = bestOfWarp(bestOfThread(p, taken, route.experts, lane));
    if (best.expert % 32 == lane) taken |= 1u << (best.expert / 32);
    const float weight = best.prob >= 0 ? best.prob : NAN;
    sum += weight;
    if (lane == 0) {
      weights[k] = weight;
      indices[k] = best.expert;
    }
  }
  __syncwarp();
  if (!route.normalize) return;
  for (int k = lane; k < route.choices; k += kWarp) weights[k] /= sum;
}

/** `<dWeights, weights>` and the sum of the chosen probabilities, which the weights were divided by. */
struct Chosen {
  float mean;
  float sum;
};

__device__ inline Chosen sumChosen(const RouteBackward& args, int64_t token, int lane) {
  const float* probs = args.probs + token * args.experts;
  float mean = 0, sum = 0;
  for (int k = lane; k < args.choices; k += kWarp) {
    const int64_t slot = token * args.choices + k;
    mean += args.dWeights[slot] * args.weights[slot];
    sum += probs[args.indices[slot]];
  }
  return {reduceLanes(mean, kWarp, Sum()), reduceLanes(sum, kWarp, Sum())};
}

/** `dz = p (dp - sum p dp)`; where an expert was chosen, dp also holds what comes through its weight. */
__global__ void __launch_bounds__(kThreads) routeTokensBackward(RouteBackward args) {
  const int lane = threadIdx.x % kWarp;
  const int64_t token = static_cast<int64_t>(blockIdx.x) * kTokensPerBlock + threadIdx.x / kWarp;
  if (token >= args.tokens) return;
  const float* probs = args.probs + token * args.experts;
  const float* dProbs = args.dProbs == nullptr ? nullptr : args.dProbs + token * args.experts;
  float* dLogits = args.dLogits + token * args.experts;
  const auto direct = [&](int64_t expert) { return dProbs == nullptr ? 0.0f : dProbs[expert]; };
  const int choices = args.dWeights == nullptr ? 0 : args.choices;
  const Chosen chosen = choices == 0 ? Chosen{} : sumChosen(args, token, lane);
  const auto through = [&](int64_t slot) {
    return args.normalize ? (args.dWeights[slot] - chosen.mean) / chosen.sum : args.dWeights[slot];
  };
  float dot = 0;
  for (int e = lane; e < args.experts; e += kWarp) dot += probs[e] * direct(e);
  for (int k = lane; k < choices; k += kWarp) {
    const int64_t slot = token * args.choices + k;
    dot += probs[args.indices[slot]] * through(slot);
  }
  dot = reduceLanes(dot, kWarp, Sum());
  for (int e = lane; e < args.experts; e += kWarp) dLogits[e] = probs[e] * (direct(e) - dot);
  __syncwarp();
  for (int k = lane; k < choices; k += kWarp) {  // again, for the chosen
    const int64_t slot = token * args.choices + k, e = args.indices[slot];
    dLogits[e] = probs[e] * (direct(e) + through(slot) - dot);
  }
}

template <int P>
void launchFor(const Route& route, cudaStream_t stream) {
  if constexpr (P < 32) {
    if (route.experts > P * 32) return launchFor<P * 2>(route, stream);
  }
  launch(routeTokens<P>, gridOf(ceilDiv(route.tokens, kTokensPerBlock)), kThreads, 0, stream, route);
}

}  // namespace

void launchRoute(const Route& route, cudaStream_t stream) { launchFor<1>(route, stream); }

void launchRouteBackward(const RouteBackward& args, cudaStream_t stream) {
  launch(routeTokensBackward, gridOf(ceilDiv(args.tokens, kTokensPerBlock)), kThreads, 0, stream, args);
}

}  // namespace switchyard::cuda

// A decoding step reads the weights of the chosen experts once and computes little: a warp per output, so that many loads are
// under way at a time. No slots are sorted.
// Shapes: T tokens, K choices, E experts, D model, F expert width.

#include "experts_gemv_launch.h"

#include "../common/row_block.cuh"
#include "activation_functions.cuh"

namespace switchyard::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

__device__ inline int64_t warpOfGrid() { return static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp; }

template <int V>
__device__ inline float dot(const float (&a)[V], const float (&b)[V]) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < V; i++) sum += a[i] * b[i];
  return sum;
}

__device__ inline bool isExpert(int64_t expert, const ExpertsGemv& args) { return expert >= 0 && expert < args.experts; }

/** `a[t, k, f] = act(up_e[f] x_t) (up_e[F + f] x_t)`, or without the second factor; a warp for each. */
template <typename At, typename T, int V>
__global__ void __launch_bounds__(kThreads) projectUp(ExpertsGemv args) {
  const int lane = threadIdx.x % kWarp;
  const int64_t output = warpOfGrid(), slot = output / args.width, f = output % args.width;
  if (slot >= args.tokens * args.choices) return;
  const int64_t expert = args.indices[slot];
  if (!isExpert(expert, args)) return;
  const int64_t rows = args.width * (args.gated ? 2 : 1);
  const T* gate = static_cast<const T*>(args.up) + (expert * rows + f) * args.model;
  const T* up = gate + (args.gated ? args.width * args.model : 0);
  const T* x = static_cast<const T*>(args.x) + slot / args.choices * args.model;
  float gateSum = 0, upSum = 0;
#pragma unroll 4
  for (int64_t column = lane * V; column < args.model; column += kWarp * V) {
    float values[V], gates[V], ups[V];
    load(gate + column, gates);
    load(up + column, ups);
    load(x + column, values);
    gateSum += dot(values, gates);
    upSum += dot(values, ups);
  }
  gateSum = reduceLanes(gateSum, kWarp, Sum());
  upSum = reduceLanes(upSum, kWarp, Sum());
  const float value = At::compute(gateSum).value;
  if (lane == 0) args.activated[output] = args.gated ? value * upSum : value;
}

/** `y[t, d] = sum_k w[t, k] <down_e[d], a[t, k]>`; a warp for each. */
template <typename T, int V>
__global__ void __launch_bounds__(kThreads) projectDown(ExpertsGemv args) {
  const int lane = threadIdx.x % kWarp;
  const int64_t output = warpOfGrid(), token = output / args.model, d = output % args.model;
  if (token >= args.tokens) return;
  float sum = 0;
#pragma unroll 2
  for (int64_t slot = token * args.choices; slot < (token + 1) * args.choices; slot++) {
    const int64_t expert = args.indices[slot];
    if (!isExpert(expert, args)) continue;
    const T* down = static_cast<const T*>(args.down) + (expert * args.model + d) * args.width;
    const float* activated = args.activated + slot * args.width;
    float part = 0;
#pragma unroll 4
    for (int64_t column = lane * V; column < args.width; column += kWarp * V) {
      float weights[V], values[V];
      load(down + column, weights);
      load(activated + column, values);
      part += dot(weights, values);
    }
    sum += args.weights[slot] * part;
  }
  sum = reduceLanes(sum, kWarp, Sum());
  if (lane == 0) static_cast<T*>(args.y)[output] = fromFloat<T>(sum);
}

}  // namespace

void launchExpertsGemv(const ExpertsGemv& args, cudaStream_t stream) {
  withElement(args.element, [&](auto zero) {
    using T = decltype(zero);
    withVector<T>(isWide<T>(args.model, {args.x, args.up}), [&](auto vector) {
      withActivation(args.activation, [&](auto at) {
        const int64_t outputs = args.tokens * args.choices * args.width;
        launch(projectUp<decltype(at), T, vector>, gridOf(ceilDiv(outputs, kWarps)), kThreads, 0, stream, args);
      });
    });
    withVector<T>(isWide<T>(args.width, {args.down, args.activated}), [&](auto vector) {
      const int64_t outputs = args.tokens * args.model;
      launch(projectDown<T, vector>, gridOf(ceilDiv(outputs, kWarps)), kThreads, 0, stream, args);
    });
  });
}

}  // namespace switchyard::cuda

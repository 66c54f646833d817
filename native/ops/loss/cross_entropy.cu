// One pass for largest logit and sum together (arXiv:1805.02867, algorithm 3), one to write.
// Shapes: C rows, V vocabulary.

#include "cross_entropy_launch.h"

#include <cfloat>
#include <cmath>

#include "../common/row_block.cuh"

namespace switchyard::cuda {
namespace {

constexpr int kMostLanes = 1024;  // a row is long; few at a time stay in the cache for the second pass

/** `sum e^(z - largest)` over the logits seen. */
struct Exponentials {
  float largest;
  float sum;
};

__device__ inline Exponentials shuffleXor(Exponentials value, int offset) {
  return {cuda::shuffleXor(value.largest, offset), cuda::shuffleXor(value.sum, offset)};
}

__device__ inline Exponentials shuffleFrom(Exponentials value, int lane) {
  return {cuda::shuffleFrom(value.largest, lane), cuda::shuffleFrom(value.sum, lane)};
}

__device__ inline Exponentials combine(Exponentials a, Exponentials b) {
  const float largest = fmaxf(a.largest, b.largest);
  return {largest, a.sum * expf(a.largest - largest) + b.sum * expf(b.largest - largest)};
}

template <int V>
__device__ inline Exponentials include(Exponentials seen, const float (&z)[V]) {
  float largest = seen.largest;
#pragma unroll
  for (int i = 0; i < V; i++) largest = fmaxf(largest, z[i]);
  float sum = seen.sum * expf(seen.largest - largest);
#pragma unroll
  for (int i = 0; i < V; i++) sum += expf(z[i] - largest);
  return {largest, sum};
}

/** `loss = logsumexp(z) - z_target`; a target that is neither a class nor ignored makes it NaN. */
template <typename T, int V>
__global__ void __launch_bounds__(kMostLanes) lossRows(CrossEntropy args, int lanes) {
  const RowLane at(lanes);
  const int64_t row = at.row();
  const bool inside = row < args.rows;
  const int64_t target = inside ? args.targets[row] : args.ignored, width = inside ? args.width : 0;
  const bool counts = inside && target != args.ignored, known = counts && target >= 0 && target < width;
  T* logits = static_cast<T*>(args.logits) + row * args.width;
  Exponentials seen{-FLT_MAX, 0.0f};
#pragma unroll 2
  for (int64_t column = at.lane * V; counts && column < width; column += at.lanes * V) {
    float z[V];
    load(logits + column, z);
    seen = include(seen, z);
  }
  seen = reduceRow(seen, at.lanes, [](Exponentials a, Exponentials b) { return combine(a, b); });
  const float wanted = known ? toFloat(logits[target]) : NAN;
  __syncthreads();  // before its place is written
  const float factor = 1.0f / seen.sum;
  for (int64_t column = at.lane * V; column < width; column += at.lanes * V) {
    float z[V] = {};
    if (counts) {
      load(logits + column, z);
#pragma unroll
      for (int i = 0; i < V; i++) z[i] = expf(z[i] - seen.largest) * factor - (column + i == target ? 1.0f : 0.0f);
    }
    store(logits + column, z);
  }
  if (inside && at.lane == 0) args.losses[row] = counts ? logf(seen.sum) + (seen.largest - wanted) : 0.0f;
}

}  // namespace

void launchCrossEntropy(const CrossEntropy& args, cudaStream_t stream) {
  withElement(args.element, [&](auto zero) {
    using T = decltype(zero);
    withVector<T>(isWide<T>(args.width, {args.logits}), [&](auto vector) {
      const RowShape shape(args.rows, ceilDiv(args.width, vector), kMostLanes);
      launch(lossRows<T, vector>, shape.grid(), shape.threads, 0, stream, args, shape.lanes);
    });
  });
}

}  // namespace switchyard::cuda

// Shapes: T tokens, K choices, N = T * K rows, D width.

#include "rows_launch.h"

#include "../common/row_block.cuh"

namespace switchyard::cuda {
namespace {

/** A token is read once and written K times. Its slots' numbers, taken as rows, tell which rows it has to zero. */
template <typename T, int V>
__global__ void __launch_bounds__(256) gatherRows(GatherRows gather, int lanes) {
  const RowLane at(lanes);
  const int64_t token = at.row();
  if (token >= gather.tokens) return;
  const T* from = static_cast<const T*>(gather.x) + token * gather.width;
  T* rows = static_cast<T*>(gather.rows);
  const int64_t first = token * gather.choices, filled = *gather.filled;
  const Pack<T, V> zero{};
  for (int64_t column = at.lane * V; column < gather.width; column += at.lanes * V) {
    const Pack<T, V> value = loadPack<T, V>(from + column);
    for (int64_t slot = first; slot < first + gather.choices; slot++) {
      const int64_t row = gather.rowOfSlot[slot];
      if (row >= 0) storePack(rows + row * gather.width + column, value);
      if (slot >= filled) storePack(rows + slot * gather.width + column, zero);
    }
  }
}

/** `y[t] = sum_k weights[t, k] rows[rowOfSlot[t, k]]`, in the order of k. */
template <typename T, int V>
__global__ void __launch_bounds__(256) combineRows(CombineRows combine, int lanes) {
  const RowLane at(lanes);
  const int64_t token = at.row();
  if (token >= combine.tokens) return;
  const T* rows = static_cast<const T*>(combine.rows);
  T* to = static_cast<T*>(combine.y) + token * combine.width;
  const int64_t first = token * combine.choices;
  for (int64_t column = at.lane * V; column < combine.width; column += at.lanes * V) {
    float sum[V] = {};
#pragma unroll 4
    for (int64_t slot = first; slot < first + combine.choices; slot++) {
      const int64_t row = combine.rowOfSlot[slot];
      if (row < 0) continue;
      float values[V];
      load(rows + row * combine.width + column, values);
      const float weight = combine.weights == nullptr ? 1.0f : combine.weights[slot];
#pragma unroll
      for (int i = 0; i < V; i++) sum[i] += weight * values[i];
    }
    store(to + column, sum);
  }
}

/** A column of blocks per group; blocks of groups that have rows end at once. */
template <typename T>
__global__ void __launch_bounds__(256) zeroEmptyGroups(ZeroEmptyGroups zero) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x, count = zero.bytes / sizeof(T);
  for (int64_t group = blockIdx.y; group < zero.groups; group += gridDim.y) {
    if (zero.ends[group] != (group == 0 ? 0 : zero.ends[group - 1])) continue;
    T* to = reinterpret_cast<T*>(static_cast<unsigned char*>(zero.stack) + group * zero.bytes);
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) to[i] = T{};
  }
}

int64_t atMost(int64_t value, int64_t most) { return value < most ? value : most; }

}  // namespace

void launchGatherRows(const GatherRows& gather, cudaStream_t stream) {
  withElement(gather.element, [&](auto zero) {
    using T = decltype(zero);
    withVector<T>(isWide<T>(gather.width, {gather.x, gather.rows}), [&](auto vector) {
      const RowShape shape(gather.tokens, ceilDiv(gather.width, vector));
      launch(gatherRows<T, vector>, shape.grid(), shape.threads, 0, stream, gather, shape.lanes);
    });
  });
}

void launchCombineRows(const CombineRows& combine, cudaStream_t stream) {
  withElement(combine.element, [&](auto zero) {
    using T = decltype(zero);
    withVector<T>(isWide<T>(combine.width, {combine.rows, combine.y}), [&](auto vector) {
      const RowShape shape(combine.tokens, ceilDiv(combine.width, vector));
      launch(combineRows<T, vector>, shape.grid(), shape.threads, 0, stream, combine, shape.lanes);
    });
  });
}

void launchZeroEmptyGroups(const ZeroEmptyGroups& zero, cudaStream_t stream) {
  const auto start = [&](auto kernel, int64_t unit) {
    const int64_t blocks = atMost(ceilDiv(zero.bytes / unit, 256 * 8), 64);
    const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(atMost(zero.groups, 65535)), 1);
    launch(kernel, grid, 256, 0, stream, zero);
  };
  using Sixteen = Pack<float, 4>;
  const bool wide = zero.bytes % 16 == 0 && reinterpret_cast<uintptr_t>(zero.stack) % 16 == 0;
  if (wide) return start(zeroEmptyGroups<Sixteen>, 16);
  start(zeroEmptyGroups<uint16_t>, 2);
}

}  // namespace switchyard::cuda

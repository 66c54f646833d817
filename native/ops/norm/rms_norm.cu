// A row is read twice, the second time from the cache.
// Shapes: N rows, D width.

#include "rms_norm_launch.h"

#include "../common/row_block.cuh"

namespace switchyard::cuda {
namespace {

constexpr int64_t kMostParts = 512;

/** `s = 1 / sqrt(mean(x^2) + eps)`, `y = round(x s) w`: rounded where nn/norm.ts rounds. */
template <typename T, int V>
__global__ void __launch_bounds__(256) normalizeRows(RmsNorm norm, int lanes) {
  const RowLane at(lanes);
  const int64_t row = at.row(), width = row < norm.rows ? norm.width : 0;
  const T* x = static_cast<const T*>(norm.x) + row * norm.width;
  T* y = static_cast<T*>(norm.y) + row * norm.width;
  float sum = 0;
  for (int64_t column = at.lane * V; column < width; column += at.lanes * V) {
    float values[V];
    load(x + column, values);
#pragma unroll
    for (int i = 0; i < V; i++) sum += values[i] * values[i];
  }
  sum = reduceRow(sum, at.lanes, Sum());
  const float scale = 1.0f / sqrtf(sum / static_cast<float>(norm.width) + norm.eps);
  for (int64_t column = at.lane * V; column < width; column += at.lanes * V) {
    float values[V], weights[V];
    load(x + column, values);
    load(static_cast<const T*>(norm.weight) + column, weights);
#pragma unroll
    for (int i = 0; i < V; i++) values[i] = toFloat(fromFloat<T>(values[i] * scale)) * weights[i];
    store(y + column, values);
  }
  if (width > 0 && at.lane == 0) norm.scale[row] = scale;
}

/** `parts[block] = ` the sum over the block's rows, which each row of threads has summed for itself. */
__device__ inline void addUp(const float* sums, const RowLane& at, int64_t width, float* part) {
  __syncthreads();
  for (int64_t column = threadIdx.x; column < width; column += blockDim.x) {
    float sum = 0;
    for (int i = 0; i < at.rowsPerBlock; i++) sum += sums[i * width + column];
    part[column] = sum;
  }
}

/** `dx = s (w dy - x s^2 mean(w dy x))`, `dw = sum over rows of dy x s`. */
template <typename T, int V>
__global__ void __launch_bounds__(256) normalizeRowsBackward(RmsNormBackward args, int lanes) {
  const RowLane at(lanes);
  const T* weight = static_cast<const T*>(args.weight);
  float* dWeight = reinterpret_cast<float*>(sharedBytes()) + at.rowInBlock * args.width;  // own columns only: no barrier
  for (int64_t column = at.lane * V; column < args.width; column += at.lanes * V) {
    for (int i = 0; i < V; i++) dWeight[column + i] = 0;
  }
  const int64_t step = static_cast<int64_t>(gridDim.x) * at.rowsPerBlock;
  for (int64_t first = static_cast<int64_t>(blockIdx.x) * at.rowsPerBlock; first < args.rows; first += step) {
    const int64_t row = first + at.rowInBlock, width = row < args.rows ? args.width : 0;
    const T* dY = static_cast<const T*>(args.dY) + row * args.width;
    const T* x = static_cast<const T*>(args.x) + row * args.width;
    T* dX = static_cast<T*>(args.dX) + row * args.width;
    float sum = 0;
    for (int64_t column = at.lane * V; column < width; column += at.lanes * V) {
      float gradients[V], values[V], weights[V];
      load(dY + column, gradients);
      load(x + column, values);
      load(weight + column, weights);
#pragma unroll
      for (int i = 0; i < V; i++) sum += weights[i] * gradients[i] * values[i];
    }
    sum = reduceRow(sum, at.lanes, Sum());
    const float scale = width > 0 ? args.scale[row] : 0.0f;
    const float common = sum * scale * scale / static_cast<float>(args.width);
    for (int64_t column = at.lane * V; column < width; column += at.lanes * V) {
      float gradients[V], values[V], weights[V], sums[V];
      load(dY + column, gradients);
      load(x + column, values);
      load(weight + column, weights);
      load(dWeight + column, sums);
#pragma unroll
      for (int i = 0; i < V; i++) {
        sums[i] += gradients[i] * values[i] * scale;
        values[i] = scale * (weights[i] * gradients[i] - values[i] * common);
      }
      storeShared(dWeight + column, sums);
      store(dX + column, values);
    }
  }
  addUp(reinterpret_cast<float*>(sharedBytes()), at, args.width, args.parts + blockIdx.x * args.width);
}

/** A warp's width of columns per block; each of its warps sums every 8th part, then the warps' sums are added in order. */
template <typename T>
__global__ void __launch_bounds__(256) sumParts(const float* parts, int64_t count, int64_t width, T* to) {
  constexpr int kWarps = 8;
  float* sums = sharedArray<float, kWarps * kWarp, struct SumsOfWarps>();  // [warps, columns]
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kWarp + lane;
  float sum = 0;
#pragma unroll 4
  for (int64_t part = warp; column < width && part < count; part += kWarps) sum += parts[part * width + column];
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (warp > 0 || column >= width) return;
  for (int i = 1; i < kWarps; i++) sum += sums[i * kWarp + lane];
  to[column] = fromFloat<T>(sum);
}

}  // namespace

int64_t rmsNormParts(int64_t rows) { return rows < kMostParts ? rows : kMostParts; }

void launchRmsNorm(const RmsNorm& norm, cudaStream_t stream) {
  withElement(norm.element, [&](auto zero) {
    using T = decltype(zero);
    withVector<T>(isWide<T>(norm.width, {norm.x, norm.weight, norm.y}), [&](auto vector) {
      const RowShape shape(norm.rows, ceilDiv(norm.width, vector));
      launch(normalizeRows<T, vector>, shape.grid(), shape.threads, 0, stream, norm, shape.lanes);
    });
  });
}

void launchRmsNormBackward(const RmsNormBackward& args, cudaStream_t stream) {
  withElement(args.element, [&](auto zero) {
    using T = decltype(zero);
    int64_t parts = 0;
    withVector<T>(isWide<T>(args.width, {args.dY, args.x, args.weight, args.dX}), [&](auto vector) {
      const RowShape shape(args.rows, ceilDiv(args.width, vector));
      const size_t shared = shape.rowsPerBlock() * args.width * sizeof(float);
      parts = rmsNormParts(ceilDiv(args.rows, shape.rowsPerBlock()));
      launch(normalizeRowsBackward<T, vector>, gridOf(parts), shape.threads, shared, stream, args, shape.lanes);
    });
    launch(sumParts<T>, gridOf(ceilDiv(args.width, kWarp)), 256, 0, stream, static_cast<const float*>(args.parts), parts,
           args.width, static_cast<T*>(args.dWeight));
  });
}

}  // namespace switchyard::cuda

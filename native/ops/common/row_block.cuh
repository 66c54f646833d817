// Kernels over rows: each row is the work of a power of two of threads, and a block holds as many rows as fit. Short rows
// (a head of 64) then fill a block as well as long ones do.
#pragma once

#include "device.cuh"

namespace switchyard::cuda {

/** How rows are laid out over blocks. */
struct RowShape {
  int64_t rows;
  int lanes;    // threads per row, a power of two
  int threads;  // per block

  RowShape(int64_t rows, int64_t items, int mostLanes = 256) : rows(rows), lanes(4) {
    while (lanes < mostLanes && lanes < items) lanes *= 2;
    threads = lanes > 256 ? lanes : 256;
  }

  int rowsPerBlock() const { return threads / lanes; }
  dim3 grid() const { return gridOf(ceilDiv(rows, rowsPerBlock())); }
};

/** Where a thread stands: its row in the block, and which of the row's threads it is. */
struct RowLane {
  int lanes;
  int lane;
  int rowInBlock;
  int rowsPerBlock;

  __device__ explicit RowLane(int lanes)
      : lanes(lanes),
        lane(threadIdx.x & (lanes - 1)),
        rowInBlock(threadIdx.x / lanes),
        rowsPerBlock(blockDim.x / lanes) {}

  __device__ int64_t row() const { return static_cast<int64_t>(blockIdx.x) * rowsPerBlock + rowInBlock; }
};

struct Sum {
  template <typename V>
  __device__ V operator()(V a, V b) const {
    return a + b;
  }
};

template <typename V>
__device__ inline V shuffleXor(V value, int offset) {
  return __shfl_xor_sync(kAllLanes, value, offset);
}

template <typename V>
__device__ inline V shuffleFrom(V value, int lane) {
  return __shfl_sync(kAllLanes, value, lane);
}

/** Over `lanes` neighbours of a warp, a power of two; the same bits for all of them. Every thread of the warp calls it. */
template <typename V, typename Combine>
__device__ inline V reduceLanes(V value, int lanes, Combine combine) {
  for (int offset = lanes / 2; offset > 0; offset /= 2) value = combine(value, shuffleXor(value, offset));
  return shuffleFrom(value, (threadIdx.x % kWarp) & ~(lanes - 1));
}

/** Over the threads of a row, in an order that depends on nothing else. Every thread of the block calls it. */
template <typename V, typename Combine>
__device__ inline V reduceRow(V value, int lanes, Combine combine) {
  const int warps = lanes / static_cast<int>(kWarp);
  value = reduceLanes(value, warps > 0 ? static_cast<int>(kWarp) : lanes, combine);
  if (warps <= 1) return value;
  V* parts = sharedArray<V, kWarp, struct PartsOfWarps>();
  const int warp = threadIdx.x / kWarp, first = warp - warp % warps;
  __syncthreads();  // an earlier call's parts may still be read
  if (threadIdx.x % kWarp == 0) parts[warp] = value;
  __syncthreads();
  value = parts[first];
  for (int i = 1; i < warps; i++) value = combine(value, parts[first + i]);
  return value;
}

}  // namespace switchyard::cuda

// Counting sort in three steps: counts per tile of slots, offsets of every tile and expert, places.
// Shapes: N slots, E experts. A tile is the work of one block, and each of its warps has its own stretch.

#include "sort_slots_launch.h"

#include "../common/device.cuh"

namespace switchyard::cuda {
namespace {

constexpr unsigned kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kPerWarp = 8 * kWarp;
constexpr int kTile = kWarps * kPerWarp;

/** The expert of a slot, or -1: also for an index that is no expert, so that nothing is written out of bounds. */
__device__ inline int expertOf(const SortSlots& sort, int64_t slot) {
  if (slot >= sort.slots) return -1;
  const int64_t expert = sort.indices[slot];
  return expert >= 0 && expert < sort.experts ? static_cast<int>(expert) : -1;
}

__device__ inline void clear(int* counts, int64_t size) {
  for (int64_t i = threadIdx.x; i < size; i += kThreads) counts[i] = 0;
  __syncthreads();
}

__global__ void __launch_bounds__(kThreads) countTiles(SortSlots sort) {
  int* counts = reinterpret_cast<int*>(sharedBytes());  // [E]
  clear(counts, sort.experts);
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile;
  for (int i = threadIdx.x; i < kTile; i += kThreads) {
    const int expert = expertOf(sort, begin + i);
    if (expert >= 0) atomicAdd(counts + expert, 1);
  }
  __syncthreads();
  int* tile = sort.counts + blockIdx.x * sort.experts;
  for (int e = threadIdx.x; e < sort.experts; e += kThreads) tile[e] = counts[e];
}

/** One block: counts become the row of the tile's first slot of each expert, and `ends` the end of each expert. */
__global__ void __launch_bounds__(kMostExperts) scanTiles(SortSlots sort, int tiles) {
  int* totals = sharedArray<int, kMostExperts, struct Totals>();
  const int e = threadIdx.x;
  const bool inside = e < sort.experts;
  int total = 0;
  for (int tile = 0; inside && tile < tiles; tile++) total += sort.counts[tile * sort.experts + e];
  totals[e] = total;
  __syncthreads();
  for (int offset = 1; offset < static_cast<int>(blockDim.x); offset *= 2) {  // inclusive sums
    const int before = e >= offset ? totals[e - offset] : 0;
    __syncthreads();
    totals[e] += before;
    __syncthreads();
  }
  if (!inside) return;
  sort.ends[e] = totals[e];
  int row = totals[e] - total;
  for (int tile = 0; tile < tiles; tile++) {
    int* count = sort.counts + tile * sort.experts + e;
    const int rows = *count;
    *count = row;
    row += rows;
  }
}

/** [warps, E]: the row of each warp's first slot of each expert. */
__device__ inline void scanWarps(const SortSlots& sort, int* next) {
  const int* tile = sort.counts + blockIdx.x * sort.experts;
  for (int e = threadIdx.x; e < sort.experts; e += kThreads) {
    int row = tile[e];
    for (int warp = 0; warp < kWarps; warp++) {
      const int rows = next[warp * sort.experts + e];
      next[warp * sort.experts + e] = row;
      row += rows;
    }
  }
  __syncthreads();
}

__global__ void __launch_bounds__(kThreads) placeSlots(SortSlots sort) {
  int* next = reinterpret_cast<int*>(sharedBytes());  // [warps, E]
  clear(next, kWarps * sort.experts);
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile + warp * kPerWarp;
  int* mine = next + warp * sort.experts;
  for (int i = lane; i < kPerWarp; i += kWarp) {
    const int expert = expertOf(sort, begin + i);
    if (expert >= 0) atomicAdd(mine + expert, 1);
  }
  __syncthreads();
  scanWarps(sort, next);
  const int filled = sort.ends[sort.experts - 1];
  for (int i = lane; i < kPerWarp; i += kWarp) {
    const int64_t slot = begin + i;
    const int expert = expertOf(sort, slot);
    const unsigned same = __match_any_sync(kAllLanes, expert);
    const int rank = __popc(same & ((1u << lane) - 1));
    const int row = expert < 0 ? -1 : mine[expert] + rank;
    __syncwarp();
    if (expert >= 0 && rank == 0) mine[expert] += __popc(same);
    __syncwarp();  // as far as memory goes: the next match waits too, but orders no accesses
    if (slot >= sort.slots) continue;
    sort.rowOfSlot[slot] = row;
    if (row >= 0) sort.slotOfRow[row] = static_cast<int32_t>(slot);
    if (slot >= filled) sort.slotOfRow[slot] = -1;  // here as a row: those beyond the filled ones
  }
}

}  // namespace

int64_t sortTiles(int64_t slots) { return ceilDiv(slots, kTile); }

void launchSortSlots(const SortSlots& sort, cudaStream_t stream) {
  const int64_t tiles = sortTiles(sort.slots);
  const size_t perExperts = sort.experts * sizeof(int);
  launch(countTiles, gridOf(tiles), kThreads, perExperts, stream, sort);
  const unsigned scanThreads = static_cast<unsigned>(ceilDiv(sort.experts, kWarp) * kWarp);
  launch(scanTiles, gridOf(1), scanThreads, 0, stream, sort, static_cast<int>(tiles));
  launch(placeSlots, gridOf(tiles), kThreads, kWarps * perExperts, stream, sort);
}

}  // namespace switchyard::cuda

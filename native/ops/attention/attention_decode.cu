// Flash decoding: each block attends to a stretch of the positions with an online softmax (arXiv:1805.02867), a second kernel
// joins the stretches. A block serves several heads of one group, so that keys and values are read once for them.
// Shapes: B sequences, H heads in G groups, S capacity, D key width, E value width; R heads per block.

#include "attention_decode_launch.h"

#include <cfloat>

#include "../common/row_block.cuh"

namespace switchyard::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int64_t kBlocksWanted = 512;
constexpr int64_t kLeastStretch = 64;

/** What a block works on. */
struct Stretch {
  int64_t sequence, group, split;
  int64_t firstHead;  // in its group
  int64_t begin, end;

  __device__ Stretch(const AttentionDecode& args, int headsPerBlock) {
    const int64_t blocksPerGroup = (args.heads / args.groups + headsPerBlock - 1) / headsPerBlock;
    int64_t rest = blockIdx.x;
    split = rest % args.splits;
    rest /= args.splits;
    firstHead = rest % blocksPerGroup * headsPerBlock;
    rest /= blocksPerGroup;
    group = rest % args.groups;
    sequence = rest / args.groups;
    const int64_t length = args.lengths[sequence] < args.capacity ? args.lengths[sequence] : args.capacity;
    const int64_t first = args.window > 0 && length > args.window ? length - args.window : 0;
    const int64_t each = (length - first + args.splits - 1) / args.splits;
    begin = first + split * each;
    end = begin + each < length ? begin + each : length;
  }
};

/** Softmax and weighted sum so far, for R heads; a thread holds C * V of the sum's columns. */
template <int R, int C, int V>
struct Mixture {
  float largest[R];
  float sum[R];
  float mixed[R][C][V];
};

/** Where a thread stands: a few lanes share a position, with every 16 bytes of its key and value going to another. */
struct PositionLane {
  int lanes;
  int lane;
  int group;
  int groups;

  __device__ explicit PositionLane(int lanes)
      : lanes(lanes), lane(threadIdx.x & (lanes - 1)), group(threadIdx.x / lanes), groups(kThreads / lanes) {}
};

template <typename T, int C, int V>
__device__ inline void loadColumns(const T* row, int64_t width, const PositionLane& at, bool inside,
                                   Pack<T, V> (&columns)[C]) {
#pragma unroll
  for (int c = 0; c < C; c++) {
    const int64_t column = (c * at.lanes + at.lane) * V;
    columns[c] = inside && column < width ? loadPack<T, V>(row + column) : Pack<T, V>{};
  }
}

template <typename T, int V>
__device__ inline void widen(const Pack<T, V>& pack, float (&values)[V]) {
#pragma unroll
  for (int i = 0; i < V; i++) values[i] = toFloat(pack.items[i]);
}

/** Scaled queries; zero for heads and columns that do not exist. */
template <typename T, int R, int C, int V>
__device__ inline void loadQueries(const AttentionDecode& args, const Stretch& stretch, const PositionLane& at,
                                   float (&queries)[R][C][V]) {
  const int64_t perGroup = args.heads / args.groups;
  const int64_t first = stretch.sequence * args.heads + stretch.group * perGroup + stretch.firstHead;
#pragma unroll
  for (int r = 0; r < R; r++) {
    Pack<T, V> columns[C];
    loadColumns<T, C, V>(static_cast<const T*>(args.queries) + (first + r) * args.width, args.width, at,
                         stretch.firstHead + r < perGroup, columns);
#pragma unroll
    for (int c = 0; c < C; c++) {
      widen(columns[c], queries[r][c]);
#pragma unroll
      for (int i = 0; i < V; i++) queries[r][c][i] *= args.scale;
    }
  }
}

/** `scores[r] = <q_r, k>`, the same for all lanes of the position. */
template <typename T, int R, int C, int V>
__device__ inline void score(const float (&queries)[R][C][V], const Pack<T, V> (&key)[C], int lanes,
                             float (&scores)[R]) {
#pragma unroll
  for (int r = 0; r < R; r++) scores[r] = 0;
#pragma unroll
  for (int c = 0; c < C; c++) {
    float k[V];
    widen(key[c], k);
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
      for (int i = 0; i < V; i++) scores[r] += queries[r][c][i] * k[i];
    }
  }
#pragma unroll
  for (int r = 0; r < R; r++) {
    for (int offset = lanes / 2; offset > 0; offset /= 2) scores[r] += shuffleXor(scores[r], offset);
  }
}

/** Adds a position; `p = e^(score - largest)`. */
template <typename T, int R, int C, int V>
__device__ inline void include(Mixture<R, C, V>& mixture, const float (&scores)[R], const Pack<T, V> (&value)[C]) {
  float shares[R], kept[R];
#pragma unroll
  for (int r = 0; r < R; r++) {
    const float largest = fmaxf(mixture.largest[r], scores[r]);
    kept[r] = expf(mixture.largest[r] - largest);
    shares[r] = expf(scores[r] - largest);
    mixture.largest[r] = largest;
    mixture.sum[r] = mixture.sum[r] * kept[r] + shares[r];
  }
#pragma unroll
  for (int c = 0; c < C; c++) {
    float v[V];
    widen(value[c], v);
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
      for (int i = 0; i < V; i++) mixture.mixed[r][c][i] = mixture.mixed[r][c][i] * kept[r] + shares[r] * v[i];
    }
  }
}

/** Every thread's mixture goes to shared memory: first the softmax [groups, R, 2], then the sums [groups, R, columns]. */
template <int R, int C, int V>
__device__ inline void share(const Mixture<R, C, V>& mixture, const PositionLane& at, float* softmax, float* sums) {
  const int columns = at.lanes * C * V;
#pragma unroll
  for (int r = 0; r < R; r++) {
    const int row = at.group * R + r;
    if (at.lane == 0) {
      softmax[row * 2] = mixture.largest[r];
      softmax[row * 2 + 1] = mixture.sum[r];
    }
#pragma unroll
    for (int c = 0; c < C; c++) {
#pragma unroll
      for (int i = 0; i < V; i++) sums[row * columns + (c * at.lanes + at.lane) * V + i] = mixture.mixed[r][c][i];
    }
  }
  __syncthreads();
}

/** Joins the block's groups: the part of a head is its sum [E], not yet divided, then its largest score and softmax sum. */
template <int R, int C, int V>
__device__ inline void writeParts(const AttentionDecode& args, const Stretch& stretch, const PositionLane& at,
                                  const float* softmax, const float* sums) {
  const int columns = at.lanes * C * V, width = static_cast<int>(args.valueWidth);
  const int64_t perGroup = args.heads / args.groups;
  const int64_t first = stretch.sequence * args.heads + stretch.group * perGroup + stretch.firstHead;
  for (int item = threadIdx.x; item < R * width; item += kThreads) {
    const int r = item / width, column = item % width;
    if (stretch.firstHead + r >= perGroup) return;
    float largest = -FLT_MAX, sum = 0, mixed = 0;
    for (int i = 0; i < at.groups; i++) largest = fmaxf(largest, softmax[(i * R + r) * 2]);
    for (int i = 0; i < at.groups; i++) {
      const float factor = expf(softmax[(i * R + r) * 2] - largest);
      sum += factor * softmax[(i * R + r) * 2 + 1];
      mixed += factor * sums[(i * R + r) * columns + column];
    }
    float* part = args.parts + ((first + r) * args.splits + stretch.split) * (width + 2);
    part[column] = mixed;
    if (column == 0) {
      part[width] = largest;
      part[width + 1] = sum;
    }
  }
}

template <typename T, int R, int C, int V>
__global__ void __launch_bounds__(kThreads) attendStretch(AttentionDecode args, int lanes) {
  constexpr int kAtOnce = R * C * V >= 64 ? 2 : 4;  // positions whose loads are under way together
  const PositionLane at(lanes);
  const Stretch stretch(args, R);
  float queries[R][C][V];
  loadQueries<T>(args, stretch, at, queries);
  Mixture<R, C, V> mixture{};
#pragma unroll
  for (int r = 0; r < R; r++) mixture.largest[r] = -FLT_MAX;
  const int64_t row = (stretch.sequence * args.groups + stretch.group) * args.capacity;
  const T* keys = static_cast<const T*>(args.keys) + row * args.width;
  const T* values = static_cast<const T*>(args.values) + row * args.valueWidth;
  for (int64_t first = stretch.begin; first < stretch.end; first += at.groups * kAtOnce) {
    Pack<T, V> key[kAtOnce][C], value[kAtOnce][C];
#pragma unroll
    for (int u = 0; u < kAtOnce; u++) {
      const int64_t position = first + u * at.groups + at.group;
      loadColumns(keys + position * args.width, args.width, at, position < stretch.end, key[u]);
      loadColumns(values + position * args.valueWidth, args.valueWidth, at, position < stretch.end, value[u]);
    }
#pragma unroll
    for (int u = 0; u < kAtOnce; u++) {
      float scores[R];
      score(queries, key[u], at.lanes, scores);
      if (first + u * at.groups + at.group < stretch.end) include(mixture, scores, value[u]);
    }
  }
  float* softmax = reinterpret_cast<float*>(sharedBytes());
  float* sums = softmax + at.groups * R * 2;
  share(mixture, at, softmax, sums);
  writeParts<R, C, V>(args, stretch, at, softmax, sums);
}

/** `y = sum_s e^(largest_s - largest) mixed_s / sum_s e^(largest_s - largest) sum_s`; zero where nothing was attended to. */
template <typename T>
__global__ void __launch_bounds__(256) joinStretches(AttentionDecode args, int lanes) {
  const RowLane at(lanes);
  const int64_t row = at.row();
  if (row >= args.batch * args.heads) return;
  const int64_t width = args.valueWidth, step = width + 2;
  const float* parts = args.parts + row * args.splits * step;
  float largest = -FLT_MAX, sum = 0;
  for (int64_t s = 0; s < args.splits; s++) largest = fmaxf(largest, parts[s * step + width]);
  for (int64_t s = 0; s < args.splits; s++) sum += expf(parts[s * step + width] - largest) * parts[s * step + width + 1];
  const float scale = sum > 0 ? 1.0f / sum : 0.0f;
  for (int64_t column = at.lane; column < width; column += at.lanes) {
    float mixed = 0;
    for (int64_t s = 0; s < args.splits; s++) mixed += expf(parts[s * step + width] - largest) * parts[s * step + column];
    static_cast<T*>(args.y)[row * width + column] = fromFloat<T>(mixed * scale);
  }
}

template <typename T, int R, int C, int V>
void attend(const AttentionDecode& args, int lanes, cudaStream_t stream) {
  const int64_t blocks = args.batch * args.groups * ceilDiv(args.heads / args.groups, R) * args.splits;
  const size_t floats = kThreads / lanes * R * (2 + lanes * C * V);
  launch(attendStretch<T, R, C, V>, gridOf(blocks), kThreads, floats * sizeof(float), stream, args, lanes);
}

/** As many heads per block as the group has, but for what registers hold. */
template <typename T, int C, int V>
void attendHeads(const AttentionDecode& args, int lanes, cudaStream_t stream) {
  const int64_t perGroup = args.heads / args.groups;
  if (perGroup == 1) return attend<T, 1, C, V>(args, lanes, stream);
  if constexpr (C * V <= 8) {
    if (perGroup > 4) return attend<T, 8, C, V>(args, lanes, stream);
  }
  attend<T, 4, C, V>(args, lanes, stream);
}

template <typename T>
void attendRows(const AttentionDecode& args, cudaStream_t stream) {
  const int64_t widest = args.width > args.valueWidth ? args.width : args.valueWidth;
  const bool wide = isWide<T>(args.width, {args.queries, args.keys}) && isWide<T>(args.valueWidth, {args.values});
  const int64_t vectors = wide ? ceilDiv(widest, kVector<T>) : widest;
  int lanes = 4;
  while (lanes < 32 && lanes < vectors) lanes *= 2;
  if (wide && vectors <= lanes) return attendHeads<T, 1, kVector<T>>(args, lanes, stream);
  if (wide && vectors <= 2 * lanes) return attendHeads<T, 2, kVector<T>>(args, lanes, stream);
  if (!wide && vectors <= 8 * lanes) return attendHeads<T, 8, 1>(args, lanes, stream);
  throw std::runtime_error("attention_decode: heads of width " + std::to_string(widest) + " are too wide");
}

}  // namespace

int64_t decodeSplits(int64_t batch, int64_t groups, int64_t capacity) {
  const int64_t wanted = ceilDiv(kBlocksWanted, batch * groups > 0 ? batch * groups : 1);
  const int64_t most = ceilDiv(capacity, kLeastStretch);
  return wanted < most ? wanted : most > 0 ? most : 1;
}

void launchAttentionDecode(const AttentionDecode& args, cudaStream_t stream) {
  withElement(args.element, [&](auto zero) {
    using T = decltype(zero);
    attendRows<T>(args, stream);
    const RowShape shape(args.batch * args.heads, args.valueWidth);
    launch(joinStretches<T>, shape.grid(), shape.threads, 0, stream, args, shape.lanes);
  });
}

}  // namespace switchyard::cuda

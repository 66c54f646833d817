// Blocks of rows over chunks of positions, with a running softmax (arXiv:2205.14135, algorithm 1). A row is one head of one
// query, so that the heads that share keys are one product.
// Shapes: B sequences of at most M pages, H query heads, G key/value heads, Q = H / G, D and E widths of keys and values,
// P pages of S positions, R rows of a block.

#include "cached_attention.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../common/dtypes.h"
#include "../common/elementwise.h"
#include "../common/gemm.h"
#include "../common/helpers.h"
#include "../common/parallel.h"
#include "../common/scratch.h"
#include "cache_rows.h"
#include "cached_rows.h"

namespace switchyard {
namespace {

constexpr int64_t kRows = 64;
constexpr int64_t kChunk = 512;
/** So few rows of a group go to the cache directly: a library would first copy it, which takes longer than the product. */
constexpr int64_t kFewRows = 16;
/** Positions that such rows of all groups meet together: a cache has the groups of a position side by side. */
constexpr int64_t kTogether = 16;
/** How many positions before they are needed rows are asked for. */
constexpr int64_t kAhead = 16;
/** A block is divided into stretches of so many positions, for all threads; by shapes alone, as sums should be. */
constexpr int64_t kStretch = 2048, kFewStretch = 128;

/** Fewer multiplications than this are done before another thread is awake. */
constexpr int64_t kWorthThreads = 1 << 17;

/** What a block's rows have gathered so far. */
template <typename T>
struct Running {
  T* mixed;    // [R, E]: sum of exp(score - largest) value
  T* largest;  // [R]: of the scores
  T* sum;      // [R]: sum of exp(score - largest)

  Running(T* memory, int64_t rows, int64_t width)
      : mixed(memory), largest(memory + rows * width), sum(largest + rows) {}
};

/**
 * Rows begin .. end of each of some groups in sequence b, row r being head r % Q of query r / Q; all see within from .. to.
 * Where rows are few a block is of all groups, else of one.
 */
struct Block {
  int64_t sequence;
  int64_t group;
  int64_t groups;
  int64_t begin;
  int64_t end;
  int64_t from;
  int64_t to;
  int64_t stretches;
  int64_t part;  // where its stretches leave what they gathered, when there are several

  int64_t perGroup() const { return end - begin; }
  int64_t rows() const { return groups * perGroup(); }
  bool isFew() const { return perGroup() <= kFewRows; }
  int64_t stretch() const { return isFew() ? kFewStretch : kStretch; }
};

struct Task {
  const Block* block;
  int64_t from;
  int64_t to;
  int64_t stretch;
};

/** M */
int64_t pagesOfEach(const CachedAttentionInputs& in) {
  return in.lengths.empty() ? 0 : static_cast<int64_t>(in.pages.size() / in.lengths.size());
}

template <typename T>
class CachedAttention {
 public:
  explicit CachedAttention(const CachedAttentionInputs& inputs)
      : in_(inputs),
        heads_(inputs.queries.size(1)),
        groups_(inputs.keys.size(1)),
        perGroup_(heads_ / groups_),
        keys_(inputs.keys, inputs.pages, pagesOfEach(inputs)),
        values_(inputs.values, inputs.pages, pagesOfEach(inputs)),
        keyWidth_(inputs.queries.size(2)),
        valueWidth_(values_.width()),
        out_(at::empty({inputs.queries.size(0), heads_, valueWidth_}, inputs.queries.options())) {}

  at::Tensor run() {
    const std::vector<Block> blocks = allBlocks();
    int64_t kept = 0;
    for (const Block& block : blocks) kept = std::max(kept, block.part + sizeOf(block) * block.stretches);
    const at::Tensor parts = at::empty({kept}, in_.queries.options());
    T* memory = parts.data_ptr<T>();
    const std::vector<Task> tasks = allTasks(blocks);
    const auto gatherTask = [&](int64_t i) { gather(tasks[i], memory); };
    if (products(tasks) < kWorthThreads) {
      const Alone guard;
      for (size_t i = 0; i < tasks.size(); i++) gatherTask(i);
    } else if (std::all_of(blocks.begin(), blocks.end(), [](const Block& block) { return block.isFew(); })) {
      helpedTasks(tasks.size(), gatherTask);
    } else {
      parallelTasks(tasks.size(), gatherTask);
    }
    for (const Block& block : blocks) {
      if (block.stretches > 1) merge(block, memory);
    }
    return out_;
  }

 private:
  int64_t newRows(int64_t b) const { return in_.starts[b + 1] - in_.starts[b]; }

  /** The position of the query that a row belongs to. */
  int64_t positionOf(int64_t b, int64_t row) const { return in_.lengths[b] - newRows(b) + row / perGroup_; }

  int64_t firstSeen(int64_t position) const {
    return in_.window == 0 ? 0 : std::max<int64_t>(0, position - in_.window + 1);
  }

  int64_t sizeOf(const Block& block) const { return block.stretches == 1 ? 0 : block.rows() * (valueWidth_ + 2); }

  std::vector<Block> allBlocks() const {
    std::vector<Block> blocks;
    int64_t part = 0;
    for (int64_t b = 0; b < static_cast<int64_t>(in_.lengths.size()); b++) {
      const int64_t rows = newRows(b) * perGroup_;
      const int64_t together = rows <= kFewRows ? groups_ : 1;
      for (int64_t g = 0; g < groups_; g += together) {
        for (int64_t begin = 0; begin < rows; begin += kRows) {
          const int64_t end = std::min(begin + kRows, rows);
          const int64_t from = firstSeen(positionOf(b, begin)), to = positionOf(b, end - 1) + 1;
          Block block = {b, g, together, begin, end, from, to, 1, part};
          if (rows <= kRows) block.stretches = (to - from + block.stretch() - 1) / block.stretch();
          blocks.push_back(block);
          part += sizeOf(block) * block.stretches;
        }
      }
    }
    return blocks;
  }

  std::vector<Task> allTasks(const std::vector<Block>& blocks) const {
    std::vector<Task> tasks;
    for (const Block& block : blocks) {
      const int64_t step = block.stretches == 1 ? block.to - block.from : block.stretch();
      for (int64_t i = 0; i < block.stretches; i++) {
        const int64_t from = block.from + i * step;
        tasks.push_back({&block, from, std::min(from + step, block.to), i});
      }
    }
    const auto work = [](const Task& task) { return task.block->rows() * (task.to - task.from); };
    std::stable_sort(tasks.begin(), tasks.end(), [&](const Task& a, const Task& b) { return work(a) > work(b); });
    return tasks;
  }

  int64_t products(const std::vector<Task>& tasks) const {
    int64_t pairs = 0;
    for (const Task& task : tasks) pairs += task.block->rows() * (task.to - task.from);
    return pairs * (keyWidth_ + valueWidth_);
  }

  void gather(const Task& task, T* parts) {
    const Block& block = *task.block;
    const int64_t rows = block.rows();
    Scratch scratch;
    T* queries = scratch.take<T>(rows * keyWidth_);
    T* scores = scratch.take<T>(rows * kChunk);
    const int64_t tileRows = block.isFew() ? kTogether : kChunk;
    T* tile = scratch.take<T>(std::max(keys_.tileSize(tileRows), values_.tileSize(tileRows)));
    T* memory = block.stretches == 1 ? scratch.take<T>(rows * (valueWidth_ + 2))
                                     : parts + block.part + task.stretch * sizeOf(block);
    Running<T> running(memory, rows, valueWidth_);
    scaledQueries(block, queries);
    std::fill_n(running.mixed, rows * valueWidth_, T(0));
    for (int64_t r = 0; r < rows; r++) {
      const bool sunk = in_.sinks.defined() && task.stretch == 0;
      running.largest[r] = sunk ? in_.sinks.data_ptr<T>()[headOf(block, r)] : -std::numeric_limits<T>::infinity();
      running.sum[r] = sunk ? T(1) : T(0);
    }
    for (int64_t from = task.from; from < task.to; from += kChunk) {
      gatherChunk(block, from, std::min(from + kChunk, task.to), queries, scores, tile, running);
    }
    if (block.stretches == 1) finish(block, running);
  }

  void gatherChunk(const Block& block, int64_t from, int64_t to, const T* queries, T* scores, T* tile,
                   Running<T>& running) {
    const int64_t rows = block.rows(), count = to - from;
    if (block.isFew()) {
      eachTogether(keys_, block, from, to, tile, [&](int64_t g, int64_t at, Matrix<T> keys, int64_t some) {
        scoreFew(queries + g * block.perGroup() * keyWidth_, block.perGroup(), keys, some, keyWidth_,
                 scores + g * block.perGroup() * count + at, count);
      });
    } else {
      eachRun(from, to, [&](int64_t at, int64_t some) {
        const Matrix<T> keys = keys_.read({block.sequence, block.group, at}, some, tile);
        gemm(rows, some, keyWidth_, {queries, keyWidth_}, keys.t(), T(0), scores + at - from, count);  // [R, some]
      });
    }
    for (int64_t r = 0; r < rows; r++) {
      const int64_t position = positionOf(block.sequence, block.begin + r % block.perGroup());
      const int64_t first = std::clamp(firstSeen(position) - from, int64_t(0), count);
      const int64_t last = std::clamp(position + 1 - from, first, count);
      T* row = scores + r * count;
      std::fill(row, row + first, T(0));
      std::fill(row + last, row + count, T(0));
      if (first == last) continue;
      gatherRow(row + first, last - first, running.mixed + r * valueWidth_, valueWidth_, running.largest[r],
                running.sum[r]);
    }
    if (block.isFew()) {
      eachTogether(values_, block, from, to, tile, [&](int64_t g, int64_t at, Matrix<T> values, int64_t some) {
        mixFew(scores + g * block.perGroup() * count + at, count, block.perGroup(), values, some, valueWidth_,
               running.mixed + g * block.perGroup() * valueWidth_);
      });
    } else {
      eachRun(from, to, [&](int64_t at, int64_t some) {
        const Matrix<T> values = values_.read({block.sequence, block.group, at}, some, tile);
        gemm(rows, valueWidth_, some, {scores + at - from, count}, values, T(1), running.mixed, valueWidth_);
      });
    }
  }

  /** Calls `body(position, count)` for positions of one page after another. */
  template <typename Body>
  void eachRun(int64_t from, int64_t to, const Body& body) const {
    for (int64_t at = from, some; at < to; at += some) {
      some = std::min(to - at, keys_.toPageEnd(at));
      body(at, some);
    }
  }

  /** Calls `body(group, offset, rows, count)` for some positions at a time, and for each of these for all groups of a block. */
  template <typename Body>
  static void eachTogether(const CacheRows<T>& cache, const Block& block, int64_t from, int64_t to, T* tile,
                           const Body& body) {
    const auto together = [&](int64_t at) { return std::min({kTogether, to - at, cache.toPageEnd(at)}); };
    for (int64_t at = from, some; at < to; at += some) {
      some = together(at);
      const int64_t ahead = at + kAhead, coming = ahead < to ? together(ahead) : 0;
      for (int64_t g = 0; g < block.groups; g++) {
        if (coming > 0) cache.fetch({block.sequence, block.group + g, ahead}, coming);
        body(g, at - from, cache.read({block.sequence, block.group + g, at}, some, tile), some);
      }
    }
  }

  /** Adds up what the stretches of a block gathered. */
  void merge(const Block& block, T* parts) {
    const int64_t rows = block.rows();
    Running<T> all(parts + block.part, rows, valueWidth_);
    for (int64_t i = 1; i < block.stretches; i++) {
      const Running<T> more(parts + block.part + i * sizeOf(block), rows, valueWidth_);
      for (int64_t r = 0; r < rows; r++) {
        const T largest = std::max(all.largest[r], more.largest[r]);
        const T factor = std::exp(all.largest[r] - largest), share = std::exp(more.largest[r] - largest);
        T* mixed = all.mixed + r * valueWidth_;
        for (int64_t e = 0; e < valueWidth_; e++) mixed[e] *= factor;
        addScaled(more.mixed + r * valueWidth_, share, mixed, valueWidth_);
        all.sum[r] = all.sum[r] * factor + more.sum[r] * share;
        all.largest[r] = largest;
      }
    }
    finish(block, all);
  }

  void finish(const Block& block, const Running<T>& running) {
    for (int64_t r = 0; r < block.rows(); r++) {
      const T scale = T(1) / running.sum[r];
      const T* mixed = running.mixed + r * valueWidth_;
      T* to = out_.data_ptr<T>() + rowOf(block, r) * valueWidth_;
      for (int64_t e = 0; e < valueWidth_; e++) to[e] = mixed[e] * scale;
    }
  }

  void scaledQueries(const Block& block, T* to) const {
    const T scale = static_cast<T>(in_.scale);
    for (int64_t r = 0; r < block.rows(); r++) {
      const T* query = in_.queries.data_ptr<T>() + rowOf(block, r) * keyWidth_;
      for (int64_t i = 0; i < keyWidth_; i++) to[r * keyWidth_ + i] = scale * query[i];
    }
  }

  int64_t headOf(const Block& block, int64_t r) const {
    return (block.group + r / block.perGroup()) * perGroup_ + (block.begin + r % block.perGroup()) % perGroup_;
  }

  /** Where a row is within [N, H]. */
  int64_t rowOf(const Block& block, int64_t r) const {
    return (in_.starts[block.sequence] + (block.begin + r % block.perGroup()) / perGroup_) * heads_ + headOf(block, r);
  }

  const CachedAttentionInputs& in_;
  const int64_t heads_;
  const int64_t groups_;
  const int64_t perGroup_;
  const CacheRows<T> keys_;
  const CacheRows<T> values_;
  const int64_t keyWidth_;
  const int64_t valueWidth_;
  at::Tensor out_;
};

void checkCache(const at::Tensor& cache, const at::Tensor& queries, const char* name) {
  const bool isOwn = cache.scalar_type() == queries.scalar_type();
  const bool isEncoded = cache.scalar_type() == at::kHalf || cache.scalar_type() == at::kByte;
  TORCH_CHECK(cache.dim() == 4 && cache.is_cpu() && (isOwn || (isEncoded && queries.scalar_type() == at::kFloat)), name,
              " must be [P, G, S, width] of the queries' dtype, or f16 or blocks of Q8_0 (u8) where that is f32, got ",
              dtypeName(cache.scalar_type()), " ", cache.sizes());
  TORCH_CHECK(cache.size(3) <= 1 || cache.stride(3) == 1, name, " must be contiguous in the last dimension");
  TORCH_CHECK(cache.size(2) <= 1 || cache.stride(2) >= cache.size(3), "rows of ", name, " overlap");
  const int64_t bytes = kBlocksOfQ8_0.bytes;
  TORCH_CHECK(cache.scalar_type() != at::kByte || cache.size(3) % bytes == 0, "rows of ", name,
              " must be whole blocks of ", bytes, " bytes, got ", cache.size(3));
}

/** What a cache's rows are, of queries of width D: numbers, or blocks of Q8_0 with room for them. */
int64_t rowElements(const at::Tensor& cache, int64_t width) {
  const auto [values, bytes, _] = kBlocksOfQ8_0;
  return cache.scalar_type() == at::kByte ? (width + values - 1) / values * bytes : width;
}

void checkLengths(const CachedAttentionInputs& in) {
  const int64_t batch = in.lengths.size(), size = in.keys.size(2), perSequence = pagesOfEach(in);
  TORCH_CHECK(static_cast<int64_t>(in.starts.size()) == batch + 1, "there must be ", batch + 1, " starts, got ", in.starts);
  TORCH_CHECK(in.starts.front() == 0 && in.starts.back() == in.queries.size(0), "starts must go from 0 to ",
              in.queries.size(0), ", got ", in.starts);
  for (int64_t b = 0; b < batch; b++) {
    const int64_t rows = in.starts[b + 1] - in.starts[b], length = in.lengths[b];
    TORCH_CHECK(rows >= 0, "starts must not fall, got ", in.starts);
    TORCH_CHECK(length >= rows && length <= perSequence * size, "sequence ", b, " has ", rows,
                " new rows in a cache of ", perSequence * size, ": its length cannot be ", length);
    for (int64_t i = 0; i * size < length; i++) {
      const int64_t page = in.pages[b * perSequence + i];
      TORCH_CHECK(page >= 0 && page < in.keys.size(0), "page ", i, " of sequence ", b, " is ", page, " of ", in.keys.size(0));
    }
  }
}

CachedAttentionInputs checked(const CachedAttentionInputs& in) {
  TORCH_CHECK(in.queries.dim() == 3, "queries must be [N, H, D], got ", in.queries.sizes());
  checkCache(in.keys, in.queries, "keys");
  checkCache(in.values, in.queries, "values");
  TORCH_CHECK(in.keys.sizes().slice(0, 3) == in.values.sizes().slice(0, 3) && in.keys.size(3) == rowElements(in.keys, in.queries.size(2)),
              "queries ", in.queries.sizes(), ", keys ", in.keys.sizes(), " and values ", in.values.sizes(),
              " do not fit each other");
  const int64_t heads = in.queries.size(1), groups = in.keys.size(1);
  TORCH_CHECK(groups > 0 && heads > 0 && heads % groups == 0, heads, " heads cannot be divided into ", groups,
              " groups");
  TORCH_CHECK(in.window >= 0, "window must be 0 (all) or more, got ", in.window);
  TORCH_CHECK(!in.sinks.defined() || (in.sinks.sizes() == at::IntArrayRef({heads}) && in.sinks.is_cpu()),
              "sinks must be [", heads, "], got ", in.sinks.sizes());
  checkLengths(in);
  CachedAttentionInputs packed = in;
  packed.queries = in.queries.contiguous();
  if (in.sinks.defined()) packed.sinks = in.sinks.to(in.queries.scalar_type()).contiguous();
  return packed;
}

}  // namespace

at::Tensor cachedAttention(const CachedAttentionInputs& inputs) {
  const CachedAttentionInputs packed = checked(inputs);
  at::Tensor result;
  AT_DISPATCH_FLOATING_TYPES(packed.queries.scalar_type(), "switchyard::attention_cached",
                             [&] { result = CachedAttention<scalar_t>(packed).run(); });
  return result;
}

}  // namespace switchyard

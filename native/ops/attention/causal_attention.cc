// Shapes: B batch, T positions, H query heads, G key/value heads, D head width, R queries of a block, S keys it sees.

#include "causal_attention.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../common/accumulator.h"
#include "../common/elementwise.h"
#include "../common/gemm.h"
#include "../common/parallel.h"
#include "../common/scratch.h"
#include "causal_rows.h"

namespace switchyard {
namespace {

constexpr int64_t kBlock = 64;

/** One head's rows within [B, T, heads * D]. */
template <typename T>
struct Head {
  T* data;
  int64_t stride;

  T* row(int64_t position) const { return data + position * stride; }
  Matrix<T> rows(int64_t from) const { return {row(from), stride}; }
};

/** Queries begin .. end, and the keys that any of them sees: from .. end. */
struct Block {
  int64_t begin;
  int64_t end;
  int64_t from;

  int64_t queries() const { return end - begin; }
  int64_t keys() const { return end - from; }
};

/** `values` in the type of products: themselves if they are of it, else rounded into `to`. */
template <typename T>
const T* narrowed(const WideOf<T>* values, T* to, int64_t count) {
  if constexpr (std::is_same_v<T, WideOf<T>>) return values;
  narrowRow(values, to, count);
  return to;
}

/** Products of what is in T, all sums and rows between them in A. */
template <typename T>
class Attention {
  using A = WideOf<T>;

 public:
  explicit Attention(const AttentionInputs& inputs)
      : in_(inputs),
        batch_(inputs.queries.size(0)),
        length_(inputs.queries.size(1)),
        width_(inputs.headDim),
        heads_(inputs.queries.size(2) / width_),
        groups_(inputs.keys.size(2) / width_),
        scale_(A(1) / std::sqrt(static_cast<A>(width_))),
        cos_(inputs.cos.data_ptr<A>()),
        sin_(inputs.sin.data_ptr<A>()) {}

  std::tuple<at::Tensor, at::Tensor> forward() {
    at::Tensor out = at::empty(in_.queries.sizes(), in_.queries.options());
    at::Tensor logSums = at::empty({batch_, heads_, length_}, in_.cos.options());
    parallelTasks(batch_ * groups_, [&](int64_t task) {
      const int64_t b = task / groups_, g = task % groups_;
      Scratch scratch;
      A* rows = scratch.take<A>(2 * width_);
      T* keys = scratch.take<T>(length_ * width_);
      rotate(headOf(in_.keys, b, g), 0, length_, A(1), rows, keys);
      const Head<T> values = headOf(in_.values, b, g);
      T* queries = scratch.take<T>(kBlock * width_);
      A* scores = scratch.take<A>(kBlock * length_);
      T* narrow = scratch.take<T>(kBlock * length_);
      A* mixed = scratch.take<A>(kBlock * width_);
      forEachBlock(g, [&](int64_t h, const Block& block) {
        rotate(headOf(in_.queries, b, h), block.begin, block.end, scale_, rows, queries);
        gemm(block.queries(), block.keys(), width_, {queries, width_}, Matrix<T>{keys + block.from * width_, width_}.t(),
             A(0), scores, block.keys());  // [R, S]
        A* sums = logSums.data_ptr<A>() + (b * heads_ + h) * length_;
        for (int64_t i = block.begin; i < block.end; i++) {
          const auto [row, seen] = visible(scores, block, i);
          sums[i] = softmaxRow(row, seen);
        }
        const T* weights = narrowed(scores, narrow, block.queries() * block.keys());
        gemm(block.queries(), width_, block.keys(), {weights, block.keys()}, values.rows(block.from), A(0), mixed, width_);
        store(mixed, block.begin, block.end, headOf(out, b, h));
      });
    });
    return {out, logSums};
  }

  std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& dOut, const at::Tensor& out,
                                                          const at::Tensor& logSums) {
    at::Tensor dQueries = at::empty(in_.queries.sizes(), in_.queries.options());
    at::Tensor dKeys = at::empty(in_.keys.sizes(), in_.keys.options());
    at::Tensor dValues = at::empty(in_.values.sizes(), in_.values.options());
    parallelTasks(batch_ * groups_, [&](int64_t task) {
      const int64_t b = task / groups_, g = task % groups_;
      Scratch scratch;
      A* rows = scratch.take<A>(2 * width_);
      T* keys = scratch.take<T>(length_ * width_);
      rotate(headOf(in_.keys, b, g), 0, length_, A(1), rows, keys);
      const Head<T> values = headOf(in_.values, b, g);
      A* dKey = zeros(scratch.take<A>(length_ * width_));
      A* dValue = zeros(scratch.take<A>(length_ * width_));
      T* queries = scratch.take<T>(kBlock * width_);
      A* dQuery = scratch.take<A>(kBlock * width_);
      A* scores = scratch.take<A>(kBlock * length_);
      A* gradient = scratch.take<A>(kBlock * length_);
      T* narrowScores = scratch.take<T>(kBlock * length_);
      T* narrowGradient = scratch.take<T>(kBlock * length_);
      forEachBlock(g, [&](int64_t h, const Block& block) {
        const int64_t count = block.queries(), seen = block.keys();
        const Head<T> d = headOf(dOut, b, h), o = headOf(out, b, h);
        const Matrix<T> blockKeys{keys + block.from * width_, width_};
        rotate(headOf(in_.queries, b, h), block.begin, block.end, scale_, rows, queries);
        gemm(count, seen, width_, {queries, width_}, blockKeys.t(), A(0), scores, seen);
        gemm(count, seen, width_, d.rows(block.begin), values.rows(block.from).t(), A(0), gradient, seen);
        const A* sums = logSums.data_ptr<A>() + (b * heads_ + h) * length_;
        for (int64_t i = block.begin; i < block.end; i++) {
          visible(gradient, block, i);  // what a query does not see has no gradient
          const auto [row, visibleCount] = visible(scores, block, i);
          A* rowGradient = gradient + (row - scores);
          const A delta = dotRow(widened(d.row(i), rows), widened(o.row(i), rows + width_), width_);
          backwardRow(row, rowGradient, sums[i], delta, visibleCount);
        }
        const Matrix<T> weights{narrowed(scores, narrowScores, count * seen), seen};
        const Matrix<T> dScores{narrowed(gradient, narrowGradient, count * seen), seen};
        gemm(count, width_, seen, dScores, blockKeys, A(0), dQuery, width_);
        unrotate(dQuery, block.begin, block.end, scale_, rows, headOf(dQueries, b, h));
        // Queries carry the scale already, so keys get it through them.
        gemm(seen, width_, count, dScores.t(), {queries, width_}, A(1), dKey + block.from * width_, width_);
        gemm(seen, width_, count, weights.t(), d.rows(block.begin), A(1), dValue + block.from * width_, width_);
      });
      unrotate(dKey, 0, length_, A(1), rows, headOf(dKeys, b, g));
      store(dValue, 0, length_, headOf(dValues, b, g));
    });
    return {dQueries, dKeys, dValues};
  }

 private:
  Head<T> headOf(const at::Tensor& tensor, int64_t b, int64_t head) const {
    const int64_t stride = tensor.size(2);
    return {tensor.data_ptr<T>() + b * length_ * stride + head * width_, stride};
  }

  A* zeros(A* rows) const { return static_cast<A*>(std::memset(rows, 0, length_ * width_ * sizeof(A))); }

  /** Calls `body(head, block)` for every block of queries of every head that the key/value head g serves. */
  template <typename Body>
  void forEachBlock(int64_t g, const Body& body) const {
    const int64_t perGroup = heads_ / groups_;
    for (int64_t h = g * perGroup; h < (g + 1) * perGroup; h++) {
      for (int64_t begin = 0; begin < length_; begin += kBlock) {
        const int64_t from = std::max<int64_t>(0, begin - in_.window + 1);
        body(h, Block{begin, std::min(begin + kBlock, length_), from});
      }
    }
  }

  /** The scores of query i that count; the rest of its row becomes zero. */
  std::pair<A*, int64_t> visible(A* scores, const Block& block, int64_t i) const {
    A* row = scores + (i - block.begin) * block.keys();
    const int64_t first = std::max(block.from, i - in_.window + 1) - block.from;
    const int64_t last = i - block.from + 1;
    std::fill(row, row + first, A(0));
    std::fill(row + last, row + block.keys(), A(0));
    return {row + first, last - first};
  }

  /** A row in the type of sums: itself if it is of it, else in `room`. */
  const A* widened(const T* row, A* room) const {
    if constexpr (std::is_same_v<T, A>) return row;
    else return widenRow(row, room, width_), room;
  }

  /** Where a row of sums that becomes `row` is made: there if it is of their type, else in `room`. */
  A* roomFor(T* row, A* room) const {
    if constexpr (std::is_same_v<T, A>) return row;
    else return room;
  }

  /** @param rows room for two rows */
  void rotate(const Head<T>& head, int64_t begin, int64_t end, A scale, A* rows, T* to) const {
    for (int64_t i = begin; i < end; i++, to += width_) {
      A* turned = roomFor(to, rows + width_);
      rotateRow(widened(head.row(i), rows), cos_ + i * width_, sin_ + i * width_, scale, turned, width_);
      narrowRow(turned, to, width_);
    }
  }

  void unrotate(const A* from, int64_t begin, int64_t end, A scale, A* rows, const Head<T>& to) const {
    for (int64_t i = begin; i < end; i++, from += width_) {
      A* turned = roomFor(to.row(i), rows);
      unrotateRow(from, cos_ + i * width_, sin_ + i * width_, scale, turned, width_);
      narrowRow(turned, to.row(i), width_);
    }
  }

  void store(const A* from, int64_t begin, int64_t end, const Head<T>& to) const {
    for (int64_t i = begin; i < end; i++, from += width_) narrowRow(from, to.row(i), width_);
  }

  const AttentionInputs& in_;
  const int64_t batch_;
  const int64_t length_;
  const int64_t width_;
  const int64_t heads_;
  const int64_t groups_;
  const A scale_;
  const A* const cos_;
  const A* const sin_;
};

/** What is computed as it is; f16 is widened. */
at::ScalarType computed(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 ? at::kBFloat16 : accumulatorOf(x);
}

AttentionInputs checked(const AttentionInputs& in) {
  const at::Tensor &q = in.queries, &k = in.keys, &v = in.values;
  TORCH_CHECK(q.dim() == 3 && k.dim() == 3 && v.sizes() == k.sizes() && q.size(0) == k.size(0) &&
                  q.size(1) == k.size(1),
              "queries ", q.sizes(), ", keys ", k.sizes(), " and values ", v.sizes(), " do not fit each other");
  TORCH_CHECK(in.headDim > 0 && in.headDim % 2 == 0 && q.size(2) % in.headDim == 0 && k.size(2) % in.headDim == 0 &&
                  k.size(2) > 0 && q.size(2) % k.size(2) == 0,
              "widths ", q.size(2), " and ", k.size(2), " are no whole heads of ", in.headDim);
  TORCH_CHECK(in.cos.dim() == 2 && in.cos.sizes() == in.sin.sizes() && in.cos.size(0) >= q.size(1) &&
                  in.cos.size(1) == in.headDim,
              "angles ", in.cos.sizes(), " are not [", q.size(1), ", ", in.headDim, "]");
  TORCH_CHECK(in.window >= 1, "window must be at least 1, got ", in.window);
  const auto as = [](at::ScalarType type, const at::Tensor& x) { return x.to(type).contiguous(); };
  const auto type = computed(q), wide = accumulatorOf(q);
  return {as(type, q), as(type, k), as(type, v), as(wide, in.cos), as(wide, in.sin), in.headDim, in.window};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> attentionForward(const AttentionInputs& inputs) {
  const AttentionInputs packed = checked(inputs);
  std::tuple<at::Tensor, at::Tensor> result;
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, packed.queries.scalar_type(), "switchyard::causal_attention",
                                 [&] { result = Attention<scalar_t>(packed).forward(); });
  const auto& [out, logSums] = result;
  return {out.to(inputs.queries.scalar_type()), logSums};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attentionBackward(const at::Tensor& dOut, const AttentionInputs& inputs,
                                                                 const at::Tensor& out, const at::Tensor& logSums) {
  const AttentionInputs packed = checked(inputs);
  const auto type = inputs.queries.scalar_type(), inside = packed.queries.scalar_type();
  const at::Tensor gradient = dOut.to(inside).contiguous(), mixed = out.to(inside);
  std::tuple<at::Tensor, at::Tensor, at::Tensor> result;
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, inside, "switchyard::causal_attention", [&] {
    result = Attention<scalar_t>(packed).backward(gradient, mixed, logSums);
  });
  const auto& [dQueries, dKeys, dValues] = result;
  return {dQueries.to(type), dKeys.to(type), dValues.to(type)};
}

}  // namespace switchyard

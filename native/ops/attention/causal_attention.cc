// Shapes: B batch, T positions, H query heads, G key/value heads, D head width, R queries of a block, S keys it sees.

#include "causal_attention.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../common/accumulator.h"
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

template <typename T>
class Attention {
 public:
  explicit Attention(const AttentionInputs& inputs)
      : in_(inputs),
        batch_(inputs.queries.size(0)),
        length_(inputs.queries.size(1)),
        width_(inputs.headDim),
        heads_(inputs.queries.size(2) / width_),
        groups_(inputs.keys.size(2) / width_),
        scale_(T(1) / std::sqrt(static_cast<T>(width_))),
        cos_(inputs.cos.data_ptr<T>()),
        sin_(inputs.sin.data_ptr<T>()) {}

  std::tuple<at::Tensor, at::Tensor> forward() {
    at::Tensor out = at::empty(in_.queries.sizes(), in_.queries.options());
    at::Tensor logSums = at::empty({batch_, heads_, length_}, in_.queries.options());
    parallelTasks(batch_ * groups_, [&](int64_t task) {
      const int64_t b = task / groups_, g = task % groups_;
      Scratch scratch;
      const T* keys = rotated(headOf(in_.keys, b, g), 0, length_, T(1), scratch.take<T>(length_ * width_));
      const Head<T> values = headOf(in_.values, b, g);
      T* queries = scratch.take<T>(kBlock * width_);
      T* scores = scratch.take<T>(kBlock * length_);
      forEachBlock(g, [&](int64_t h, const Block& block) {
        rotated(headOf(in_.queries, b, h), block.begin, block.end, scale_, queries);
        gemm(block.queries(), block.keys(), width_, {queries, width_}, Matrix<T>{keys + block.from * width_, width_}.t(),
             T(0), scores, block.keys());  // [R, S]
        T* sums = logSums.data_ptr<T>() + (b * heads_ + h) * length_;
        for (int64_t i = block.begin; i < block.end; i++) {
          const auto [row, seen] = visible(scores, block, i);
          sums[i] = softmaxRow(row, seen);
        }
        const Head<T> to = headOf(out, b, h);
        gemm(block.queries(), width_, block.keys(), {scores, block.keys()}, values.rows(block.from), T(0),
             to.row(block.begin), to.stride);
      });
    });
    return {out, logSums};
  }

  std::tuple<at::Tensor, at::Tensor, at::Tensor> backward(const at::Tensor& dOut, const at::Tensor& out,
                                                          const at::Tensor& logSums) {
    at::Tensor dQueries = at::empty(in_.queries.sizes(), in_.queries.options());
    at::Tensor dKeys = at::empty(in_.keys.sizes(), in_.keys.options());
    at::Tensor dValues = at::zeros(in_.values.sizes(), in_.values.options());
    parallelTasks(batch_ * groups_, [&](int64_t task) {
      const int64_t b = task / groups_, g = task % groups_;
      Scratch scratch;
      const T* keys = rotated(headOf(in_.keys, b, g), 0, length_, T(1), scratch.take<T>(length_ * width_));
      const Head<T> values = headOf(in_.values, b, g), dValue = headOf(dValues, b, g);
      T* dKey = scratch.take<T>(length_ * width_);
      std::memset(dKey, 0, length_ * width_ * sizeof(T));
      T* queries = scratch.take<T>(kBlock * width_);
      T* dQuery = scratch.take<T>(kBlock * width_);
      T* scores = scratch.take<T>(kBlock * length_);
      T* gradient = scratch.take<T>(kBlock * length_);
      forEachBlock(g, [&](int64_t h, const Block& block) {
        const int64_t rows = block.queries(), seen = block.keys();
        const Head<T> d = headOf(dOut, b, h), o = headOf(out, b, h);
        const Matrix<T> blockKeys{keys + block.from * width_, width_};
        rotated(headOf(in_.queries, b, h), block.begin, block.end, scale_, queries);
        gemm(rows, seen, width_, {queries, width_}, blockKeys.t(), T(0), scores, seen);
        gemm(rows, seen, width_, d.rows(block.begin), values.rows(block.from).t(), T(0), gradient, seen);
        const T* sums = logSums.data_ptr<T>() + (b * heads_ + h) * length_;
        for (int64_t i = block.begin; i < block.end; i++) {
          visible(gradient, block, i);  // what a query does not see has no gradient
          const auto [row, count] = visible(scores, block, i);
          T* rowGradient = gradient + (row - scores);
          backwardRow(row, rowGradient, sums[i], dotRow(d.row(i), o.row(i), width_), count);
        }
        gemm(rows, width_, seen, {gradient, seen}, blockKeys, T(0), dQuery, width_);
        unrotated(dQuery, block.begin, block.end, scale_, headOf(dQueries, b, h));
        // Queries carry the scale already, so keys get it through them.
        gemm(seen, width_, rows, Matrix<T>{gradient, seen}.t(), {queries, width_}, T(1), dKey + block.from * width_,
             width_);
        gemm(seen, width_, rows, Matrix<T>{scores, seen}.t(), d.rows(block.begin), T(1), dValue.row(block.from),
             dValue.stride);
      });
      unrotated(dKey, 0, length_, T(1), headOf(dKeys, b, g));
    });
    return {dQueries, dKeys, dValues};
  }

 private:
  Head<T> headOf(const at::Tensor& tensor, int64_t b, int64_t head) const {
    const int64_t stride = tensor.size(2);
    return {tensor.data_ptr<T>() + b * length_ * stride + head * width_, stride};
  }

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
  std::pair<T*, int64_t> visible(T* scores, const Block& block, int64_t i) const {
    T* row = scores + (i - block.begin) * block.keys();
    const int64_t first = std::max(block.from, i - in_.window + 1) - block.from;
    const int64_t last = i - block.from + 1;
    std::fill(row, row + first, T(0));
    std::fill(row + last, row + block.keys(), T(0));
    return {row + first, last - first};
  }

  const T* rotated(const Head<T>& head, int64_t begin, int64_t end, T scale, T* to) const {
    for (int64_t i = begin; i < end; i++) {
      rotateRow(head.row(i), cos_ + i * width_, sin_ + i * width_, scale, to + (i - begin) * width_, width_);
    }
    return to;
  }

  void unrotated(const T* from, int64_t begin, int64_t end, T scale, const Head<T>& to) const {
    for (int64_t i = begin; i < end; i++) {
      unrotateRow(from + (i - begin) * width_, cos_ + i * width_, sin_ + i * width_, scale, to.row(i), width_);
    }
  }

  const AttentionInputs& in_;
  const int64_t batch_;
  const int64_t length_;
  const int64_t width_;
  const int64_t heads_;
  const int64_t groups_;
  const T scale_;
  const T* const cos_;
  const T* const sin_;
};

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
  const auto wide = [type = accumulatorOf(q)](const at::Tensor& x) { return x.to(type).contiguous(); };
  return {wide(q), wide(k), wide(v), wide(in.cos), wide(in.sin), in.headDim, in.window};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> attentionForward(const AttentionInputs& inputs) {
  const AttentionInputs packed = checked(inputs);
  std::tuple<at::Tensor, at::Tensor> result;
  AT_DISPATCH_FLOATING_TYPES(packed.queries.scalar_type(), "switchyard::causal_attention",
                             [&] { result = Attention<scalar_t>(packed).forward(); });
  const auto& [out, logSums] = result;
  return {out.to(inputs.queries.scalar_type()), logSums};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attentionBackward(const at::Tensor& dOut, const AttentionInputs& inputs,
                                                                 const at::Tensor& out, const at::Tensor& logSums) {
  const AttentionInputs packed = checked(inputs);
  const auto type = inputs.queries.scalar_type(), wide = packed.queries.scalar_type();
  const at::Tensor gradient = dOut.to(wide).contiguous(), mixed = out.to(wide);
  std::tuple<at::Tensor, at::Tensor, at::Tensor> result;
  AT_DISPATCH_FLOATING_TYPES(wide, "switchyard::causal_attention", [&] {
    result = Attention<scalar_t>(packed).backward(gradient, mixed, logSums);
  });
  const auto& [dQueries, dKeys, dValues] = result;
  return {dQueries.to(type), dKeys.to(type), dValues.to(type)};
}

}  // namespace switchyard

// Memory grows with T*K*(D + F), never with T*E. Tokens are sorted once; each expert's rows are multiplied in tiles
// that all threads share, so that one expert with most of the tokens costs no more than many with few.
// Rows and weights are of one type, the products' sums and all other arithmetic of A: f32 where that type is bf16.
// Shapes: T tokens, D model, E experts, K choices, F expert width, N filled slots (rows), W = 2F when gated, else F.

#include "experts.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "../common/gemm.h"
#include "../common/elementwise.h"
#include "../common/parallel.h"
#include "../common/scratch.h"
#include "activation.h"
#include "slots.h"

namespace switchyard {
namespace {

/** Rows begin .. end of one expert. */
struct Tile {
  int64_t expert;
  int64_t begin;
  int64_t end;

  int64_t rows() const { return end - begin; }
};

/** Work for every thread a few times over, in tiles that are still worth packing the weights for. */
std::vector<Tile> makeTiles(const SortedSlots& slots, int64_t smallest) {
  const int64_t perThread = slots.rows() / (4 * std::max(1, at::get_num_threads()));
  const int64_t largest = std::clamp<int64_t>(perThread, smallest, 1024);
  std::vector<Tile> tiles;
  for (int64_t e = 0; e + 1 < static_cast<int64_t>(slots.offsets.size()); e++) {
    const int64_t rows = slots.offsets[e + 1] - slots.offsets[e];
    const int64_t parts = (rows + largest - 1) / largest;
    for (int64_t part = 0; part < parts; part++) {
      tiles.push_back({e, slots.offsets[e] + rows * part / parts, slots.offsets[e] + rows * (part + 1) / parts});
    }
  }
  std::stable_sort(tiles.begin(), tiles.end(), [](const Tile& a, const Tile& b) { return a.rows() > b.rows(); });
  return tiles;
}

template <typename T>
class Experts {
  using A = WideOf<T>;
  static constexpr bool kIsWide = std::is_same_v<T, A>;

 public:
  Experts(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const ExpertWeights& experts)
      : x_(x),
        weights_(weights),
        up_(experts.up),
        down_(experts.down),
        activation_(parseActivation(experts.activation)),
        gated_(experts.gated),
        tokens_(x.size(0)),
        model_(x.size(1)),
        choices_(indices.size(1)),
        numExperts_(experts.up.size(0)),
        hiddenWidth_(experts.up.size(1)),
        width_(experts.down.size(2)),
        slots_(sortSlots(indices, numExperts_)) {}

  ExpertsOutput forward(bool keepHidden) {
    const int64_t rows = slots_.rows();
    at::Tensor hidden = keepHidden ? at::empty({rows, hiddenWidth_}, x_.options()) : at::Tensor();
    at::Tensor outputs = at::empty({rows, model_}, weights_.options());
    const std::vector<Tile> tiles = makeTiles(slots_, 128);
    parallelTasks(tiles.size(), [&](int64_t i) {
      const Tile& tile = tiles[i];
      Scratch scratch;
      const T* x = gather(x_, tile, scratch.take<T>(tile.rows() * model_));  // [n, D]
      T* kept = keepHidden ? rowOf<T>(hidden, tile.begin) : nullptr;
      const bool inPlace = kIsWide && keepHidden;
      A* up = inPlace ? reinterpret_cast<A*>(kept) : scratch.take<A>(tile.rows() * hiddenWidth_);  // [n, W]
      gemm(tile.rows(), hiddenWidth_, model_, {x, model_}, upOf(tile.expert).t(), A(0), up, hiddenWidth_);
      if (keepHidden && !inPlace) narrowRow(up, kept, tile.rows() * hiddenWidth_);
      T* a = scratch.take<T>(tile.rows() * width_);  // [n, F]
      A* wide = kIsWide ? nullptr : scratch.take<A>(width_);
      for (int64_t row = 0; row < tile.rows(); row++) {
        const A* gate = up + row * hiddenWidth_;
        A* values = wideRow(a + row * width_, wide);
        activate(activation_, gate, gated_ ? gate + width_ : nullptr, values, width_);
        narrowRow(values, a + row * width_, width_);
      }
      gemm(tile.rows(), model_, width_, {a, width_}, downOf(tile.expert).t(), A(0), rowOf<A>(outputs, tile.begin),
           model_);
    });
    return {sumPerToken(outputs, weights_.data_ptr<A>()), hidden};
  }

  ExpertsGradients backward(const at::Tensor& dY, const at::Tensor& hidden, TrainedExperts trained) {
    const int64_t rows = slots_.rows();
    at::Tensor dWeights = at::zeros(weights_.sizes(), weights_.options());
    at::Tensor dRows = at::empty({rows, model_}, weights_.options());
    at::Tensor dHidden = at::empty({rows, hiddenWidth_}, x_.options());
    at::Tensor weighted = at::empty({rows, width_}, x_.options());  // weight * activation
    const std::vector<Tile> tiles = makeTiles(slots_, 128);
    parallelTasks(tiles.size(), [&](int64_t i) {
      const Tile& tile = tiles[i];
      Scratch scratch;
      const T* dOut = gather(dY, tile, scratch.take<T>(tile.rows() * model_));  // [n, D]
      A* dA = scratch.take<A>(tile.rows() * width_);  // [n, F]
      gemm(tile.rows(), width_, model_, {dOut, model_}, downOf(tile.expert), A(0), dA, width_);
      activateTile(tile, dA, hidden, dWeights, weighted, dHidden, scratch);
      gemm(tile.rows(), model_, hiddenWidth_, {rowOf<T>(dHidden, tile.begin), hiddenWidth_}, upOf(tile.expert), A(0),
           rowOf<A>(dRows, tile.begin), model_);
    });
    auto [dUp, dDown] = weightGradients(dY, dHidden, weighted, trained);
    return {sumPerToken(dRows, nullptr), dWeights, dUp, dDown};
  }

 private:
  Matrix<T> upOf(int64_t expert) const { return {up_.data_ptr<T>() + expert * hiddenWidth_ * model_, model_}; }
  Matrix<T> downOf(int64_t expert) const { return {down_.data_ptr<T>() + expert * model_ * width_, width_}; }

  template <typename Element>
  static Element* rowOf(const at::Tensor& rows, int64_t row) {
    return rows.data_ptr<Element>() + row * rows.size(1);
  }

  /** Where a row is computed before it is narrowed: in place, if it needs none of that. */
  static A* wideRow(T* row, A* wide) {
    if constexpr (kIsWide) {
      return row;
    } else {
      return wide;
    }
  }

  /** The rows of a tile from their tokens: [n, D]. */
  const T* gather(const at::Tensor& source, const Tile& tile, T* to) const {
    const T* from = source.data_ptr<T>();
    for (int64_t row = tile.begin; row < tile.end; row++) {
      const int64_t token = slots_.slotOfRow[row] / choices_;
      std::memcpy(to + (row - tile.begin) * model_, from + token * model_, model_ * sizeof(T));
    }
    return to;
  }

  void activateTile(const Tile& tile, const A* dA, const at::Tensor& hidden, at::Tensor& dWeights,
                    at::Tensor& weighted, at::Tensor& dHidden, Scratch& scratch) const {
    A* wideHidden = kIsWide ? nullptr : scratch.take<A>(hiddenWidth_);
    A* wideWeighted = kIsWide ? nullptr : scratch.take<A>(width_);
    A* wideGradient = kIsWide ? nullptr : scratch.take<A>(hiddenWidth_);
    for (int64_t row = tile.begin; row < tile.end; row++) {
      const int64_t slot = slots_.slotOfRow[row];
      A* gate = wideRow(rowOf<T>(hidden, row), wideHidden);
      if constexpr (!kIsWide) widenRow(rowOf<T>(hidden, row), gate, hiddenWidth_);
      A* toWeighted = wideRow(rowOf<T>(weighted, row), wideWeighted);
      A* dGate = wideRow(rowOf<T>(dHidden, row), wideGradient);
      const ActivatedRow<A> values{weights_.data_ptr<A>()[slot], dA + (row - tile.begin) * width_, gate,
                                   gated_ ? gate + width_ : nullptr};
      dWeights.data_ptr<A>()[slot] =
          activateBackward(activation_, values, toWeighted, dGate, gated_ ? dGate + width_ : nullptr, width_);
      narrowRow(toWeighted, rowOf<T>(weighted, row), width_);
      narrowRow(dGate, rowOf<T>(dHidden, row), hiddenWidth_);
    }
  }

  /** `dUp_e = dHidden_e^T x_e` and `dDown_e = dY_e^T weighted_e`, as far as they are wanted, written straight into the stacked gradients. */
  std::pair<at::Tensor, at::Tensor> weightGradients(const at::Tensor& dY, const at::Tensor& dHidden,
                                                    const at::Tensor& weighted, TrainedExperts trained) const {
    at::Tensor dUp = trained.up ? at::empty(up_.sizes(), up_.options()) : at::Tensor();
    at::Tensor dDown = trained.down ? at::empty(down_.sizes(), down_.options()) : at::Tensor();
    std::vector<Tile> experts;
    for (int64_t e = 0; e < numExperts_; e++) experts.push_back({e, slots_.offsets[e], slots_.offsets[e + 1]});
    std::stable_sort(experts.begin(), experts.end(), [](const Tile& a, const Tile& b) { return a.rows() > b.rows(); });
    const int64_t each = int64_t{trained.up} + int64_t{trained.down};
    parallelTasks(each * numExperts_, [&](int64_t i) {
      const Tile& tile = experts[i / each];
      if (trained.up && i % each == 0) {
        T* to = dUp.data_ptr<T>() + tile.expert * hiddenWidth_ * model_;
        accumulate(tile, dHidden, hiddenWidth_, x_, to, false);
      } else {
        T* to = dDown.data_ptr<T>() + tile.expert * model_ * width_;
        accumulate(tile, weighted, width_, dY, to, true);
      }
    });
    return {dUp, dDown};
  }

  /** `to = rows^T tokens` [columns, D], or its transpose, over the tile in parts that fit the cache. */
  void accumulate(const Tile& tile, const at::Tensor& rows, int64_t columns, const at::Tensor& tokens, T* to,
                  bool transposed) const {
    constexpr int64_t kPart = 512;
    if (tile.rows() == 0) std::memset(to, 0, columns * model_ * sizeof(T));
    Scratch scratch;
    T* gathered = scratch.take<T>(std::min(kPart, tile.rows()) * model_);
    A* sum = wideRow(to, kIsWide ? nullptr : scratch.take<A>(columns * model_));
    for (int64_t begin = tile.begin; begin < tile.end; begin += kPart) {
      const Tile part{tile.expert, begin, std::min(begin + kPart, tile.end)};
      const Matrix<T> fromTokens{gather(tokens, part, gathered), model_};  // [n, D]
      const Matrix<T> sorted{rowOf<T>(rows, begin), columns};              // [n, columns]
      const A beta = begin == tile.begin ? A(0) : A(1);
      if (transposed) {
        gemm(model_, columns, part.rows(), fromTokens.t(), sorted, beta, sum, columns);
      } else {
        gemm(columns, model_, part.rows(), sorted.t(), fromTokens, beta, sum, model_);
      }
    }
    if (tile.rows() > 0) narrowRow(sum, to, columns * model_);
  }

  /** `y_t = sum over t's slots of weight * row`, rows in A; `weights` null means one. */
  at::Tensor sumPerToken(const at::Tensor& rows, const A* weights) const {
    at::Tensor y = at::empty({tokens_, model_}, x_.options());
    parallelRange(tokens_, 64, [&](int64_t begin, int64_t end) {
      std::vector<A> wide(kIsWide ? 0 : model_);
      for (int64_t token = begin; token < end; token++) {
        A* sum = wideRow(rowOf<T>(y, token), wide.data());
        std::memset(sum, 0, model_ * sizeof(A));
        for (int64_t slot = token * choices_; slot < (token + 1) * choices_; slot++) {
          const int64_t row = slots_.rowOfSlot[slot];
          if (row >= 0) addScaled(rowOf<A>(rows, row), weights == nullptr ? A(1) : weights[slot], sum, model_);
        }
        narrowRow(sum, rowOf<T>(y, token), model_);
      }
    });
    return y;
  }

  const at::Tensor& x_;
  const at::Tensor& weights_;
  const at::Tensor& up_;
  const at::Tensor& down_;
  const Activation activation_;
  const bool gated_;
  const int64_t tokens_;
  const int64_t model_;
  const int64_t choices_;
  const int64_t numExperts_;
  const int64_t hiddenWidth_;
  const int64_t width_;
  const SortedSlots slots_;
};

void check(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const ExpertWeights& experts) {
  TORCH_CHECK(x.dim() == 2 && indices.dim() == 2 && experts.up.dim() == 3 && experts.down.dim() == 3,
              "x and indices need two dimensions, expert weights three");
  TORCH_CHECK(indices.size(0) == x.size(0), "indices have ", indices.size(0), " tokens, x has ", x.size(0));
  TORCH_CHECK(weights.sizes() == indices.sizes(), "weights and indices have different shapes");
  const int64_t factor = experts.gated ? 2 : 1;
  TORCH_CHECK(experts.up.size(0) == experts.down.size(0) && experts.up.size(2) == x.size(1) &&
                  experts.down.size(1) == x.size(1) && experts.up.size(1) == factor * experts.down.size(2),
              "expert weights ", experts.up.sizes(), " and ", experts.down.sizes(), " do not fit x ", x.sizes());
}

ExpertWeights contiguous(const ExpertWeights& experts) {
  return {experts.up.contiguous(), experts.down.contiguous(), experts.activation, experts.gated};
}

}  // namespace

ExpertsOutput expertsForward(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights,
                             const ExpertWeights& experts, bool keepHidden) {
  check(x, indices, weights, experts);
  const ExpertWeights packed = contiguous(experts);
  const at::Tensor tokens = x.contiguous();
  const at::Tensor shares = weights.contiguous();
  ExpertsOutput output;
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, x.scalar_type(), "switchyard::experts", [&] {
    output = Experts<scalar_t>(tokens, indices, shares, packed).forward(keepHidden);
  });
  return output;
}

ExpertsGradients expertsBackward(const at::Tensor& dY, const at::Tensor& x, const at::Tensor& indices,
                                 const at::Tensor& weights, const at::Tensor& hidden, const ExpertWeights& experts,
                                 TrainedExperts trained) {
  const ExpertWeights packed = contiguous(experts);
  const at::Tensor gradient = dY.contiguous();
  const at::Tensor tokens = x.contiguous();
  const at::Tensor shares = weights.contiguous();
  ExpertsGradients gradients;
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, x.scalar_type(), "switchyard::experts", [&] {
    gradients = Experts<scalar_t>(tokens, indices, shares, packed).backward(gradient, hidden, trained);
  });
  return gradients;
}

}  // namespace switchyard

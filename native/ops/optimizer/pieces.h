// Tensors cut into stretches that threads share.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <vector>

#include "../common/elementwise.h"

namespace switchyard {

/** Elements of a piece: its values, gradients and moments in f32 fit a processor's second cache. */
constexpr int64_t kPiece = 32768;

/** A stretch of one tensor. */
struct Piece {
  size_t tensor;
  int64_t begin;
  int64_t count;
};

/** Pieces do not depend on the number of threads, so that sums over them do not either. */
inline std::vector<Piece> cut(at::TensorList tensors) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < tensors.size(); i++) {
    const int64_t count = tensors[i].numel();
    for (int64_t begin = 0; begin < count; begin += kPiece) pieces.push_back({i, begin, std::min(kPiece, count - begin)});
  }
  return pieces;
}

/** A piece of a tensor in f32: where it is if that is its type, else in `copy`. */
inline float* wide(const at::Tensor& tensor, const Piece& piece, float* copy) {
  switch (tensor.scalar_type()) {
    case at::kBFloat16:
      widenRow(tensor.data_ptr<c10::BFloat16>() + piece.begin, copy, piece.count);
      return copy;
    case at::kHalf:
      widenRow(tensor.data_ptr<c10::Half>() + piece.begin, copy, piece.count);
      return copy;
    default:
      return tensor.data_ptr<float>() + piece.begin;
  }
}

}  // namespace switchyard

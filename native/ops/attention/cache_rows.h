// A cache's rows as numbers to compute with: where they lie or, from half precision and blocks, decoded a few at a time into
// memory that stays near.
// Shapes: B sequences, G key/value heads, P pages of S positions each, M most pages of a sequence, D width of a row.
#pragma once

#include <ATen/core/Tensor.h>

#include "../common/gemm.h"
#include "row_decoders.h"

namespace switchyard {

/** A group's row in a sequence. */
struct CachePlace {
  int64_t sequence;
  int64_t group;
  int64_t position;
};

/**
 * Rows of a cache [P, G, S, D] of T; where T is float also of f16, or u8 [P, G, S, bytes] in blocks of Q8_0, whose D is all
 * that they have room for. Position i of sequence b is in page `pages[b, i / S]` (arXiv:2309.06180 section 4.1).
 */
template <typename T>
class CacheRows {
 public:
  /** @param pages [B, M] */
  CacheRows(const at::Tensor& cache, at::IntArrayRef pages, int64_t perSequence);

  /** D */
  int64_t width() const { return width_; }

  /** Elements of a tile for so many rows; none where they are read in place. */
  int64_t tileSize(int64_t rows) const { return decoder_ == nullptr ? 0 : rows * width_; }

  /** Rows from a position to the end of its page. */
  int64_t toPageEnd(int64_t position) const { return size_ - position % size_; }

  /** `count` rows of one page from a place on, [count, D], in `tile` where they are encoded. */
  Matrix<T> read(const CachePlace& first, int64_t count, T* tile) const;

  /** Asks for rows before they are needed: where rows of one group lie apart, processors do not foresee them. */
  void fetch(const CachePlace& first, int64_t count) const;

 private:
  const uint8_t* bytesAt(const CachePlace& place) const;

  const at::Tensor& cache_;
  const at::IntArrayRef pages_;
  const int64_t perSequence_;
  const int64_t size_;  // S
  const RowDecoder* decoder_;  // null: rows are numbers of T
  int64_t rowBytes_;
  int64_t width_;
  int64_t strides_[3];  // bytes from page to page, group to group, position to position
};

extern template class CacheRows<float>;
extern template class CacheRows<double>;

}  // namespace switchyard

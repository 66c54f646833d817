// Products with matrices whose rows stay encoded as in their file: nothing of them is ever decoded but what is being used.
// Shapes: N rows of activations, I inputs, O outputs.
#pragma once

#include <ATen/core/Tensor.h>

#include "../common/scratch.h"
#include "row_type.h"

namespace switchyard {

/** Rows of activations; for a type with products of 8-bit numbers the same in 8 bits. */
class Activations {
 public:
  /**
   * @param rows f32 [N, I], contiguous; kept by reference
   * @param fewest rows that meet one matrix
   */
  Activations(const at::Tensor& rows, const RowType& type, int64_t fewest);

  /** Whether so many rows meet a matrix in 8 bits. */
  bool areQuantized(int64_t count) const { return !scales_.empty() && count < kMany; }
  int64_t columns() const { return columns_; }
  const float* row(int64_t i) const { return rows_ + i * columns_; }
  QuantizedRow quantized(int64_t i) const { return {&values_[i * columns_], &scales_[i * blocks_]}; }

 private:
  /** So many rows are worth decoding a matrix for: products of f32 by a library are then the faster ones. */
  static constexpr int64_t kMany = 32;

  const float* rows_;
  int64_t columns_;
  int64_t blocks_;
  std::vector<int8_t> values_;
  std::vector<float> scales_;
};

/** [O, I]: a matrix, or one of a stack of them. */
class EncodedMatrix {
 public:
  /** @param rows u8 [O, bytes] or [E, O, bytes], contiguous. Throws c10::Error when rows are not of `columns` values. */
  EncodedMatrix(const at::Tensor& rows, const RowType& type, int64_t columns, int64_t index = 0);

  int64_t outputs() const { return outputs_; }

  /** Rows of a part that is worth a task of its own: what a core's cache holds decoded. */
  int64_t rowsPerTask() const;

  /**
   * `y[i, begin .. end) = x_i W^T` for the given rows of `x`, with `stride` numbers from row to row of y.
   *
   * @param rows which of the activations; null: the first `count`
   */
  void multiply(const Activations& x, const int64_t* rows, int64_t count, int64_t begin, int64_t end, float* y,
                int64_t stride) const;

  /** Row `index` in f32: [I]. */
  void decode(int64_t index, int64_t count, float* to) const;

 private:
  const uint8_t* row(int64_t index) const { return data_ + index * rowBytes_; }

  const RowType& type_;
  const uint8_t* data_;
  int64_t outputs_;
  int64_t columns_;
  int64_t rowBytes_;
};

}  // namespace switchyard

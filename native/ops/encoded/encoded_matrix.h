// Products with matrices whose rows stay encoded: nothing of them is ever decoded but what is being used.
// Shapes: N rows of activations, I inputs, O outputs.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "row_type.h"

namespace switchyard {

/** Rows of activations, in 8 bits where they meet panels. */
class Activations {
 public:
  /** @param rows f32 [N, I], contiguous; kept by reference */
  Activations(const at::Tensor& rows, const RowType& type);

  /**
   * Puts rows that are in 8 bits into the order in which they are used, where they are many: those that lie one after the other
   * are quicker to go through again and again.
   *
   * @returns which rows to ask for from now on
   */
  std::vector<int64_t> inOrder(const std::vector<int64_t>& rows);

  int64_t columns() const { return columns_; }
  const float* row(int64_t i) const { return rows_ + i * columns_; }
  const QuantizedRow& quantized(int64_t i) const { return quantized_[i]; }

 private:
  void quantize(int32_t sumFactor, int64_t count);
  void take(int64_t count);

  const float* rows_;
  int64_t columns_;
  std::vector<QuantizedRow> quantized_;
  std::vector<int8_t> values_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_;
};

/** [O, I]: a matrix, or one of a stack of them. O is a multiple of 16 in panels. */
class EncodedMatrix {
 public:
  /** @param rows u8 [O, bytes] or [E, O, bytes], contiguous. Throws c10::Error when rows are not of `columns` values. */
  EncodedMatrix(const at::Tensor& rows, const RowType& type, int64_t columns, int64_t index = 0);

  int64_t outputs() const { return outputs_; }

  /** Rows of a part that is worth a task of its own; whole panels. */
  int64_t rowsPerTask() const;

  /**
   * `y[i, begin .. end) = x_i W^T` for the given rows of `x`, with `stride` numbers from row to row of y. What comes of x_i
   * depends on nothing but x_i and W, to the bit.
   *
   * @param rows which of the activations; null: the first `count`
   */
  void multiply(const Activations& x, const int64_t* rows, int64_t count, int64_t begin, int64_t end, float* y,
                int64_t stride) const;

  /** `count` rows from `index` on, in f32. */
  void decode(int64_t index, int64_t count, float* to) const;

 private:
  const uint8_t* row(int64_t index) const { return data_ + index * rowBytes_; }
  void multiplyPanels(const Activations& x, const int64_t* rows, int64_t count, int64_t begin, int64_t end, float* y,
                      int64_t stride) const;
  void multiplyRows(const Activations& x, const int64_t* rows, int64_t count, int64_t begin, int64_t end, float* y,
                    int64_t stride) const;

  const RowType& type_;
  const uint8_t* data_;
  int64_t outputs_;
  int64_t columns_;
  int64_t rowBytes_;
};

}  // namespace switchyard

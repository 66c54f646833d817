#include "encoded_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "../common/parallel.h"
#include "../common/scratch.h"
#include "../common/simd.h"
#include "panel_products.h"

namespace switchyard {
namespace {

/** So few rows of activations are not worth decoding a matrix for. */
constexpr int64_t kFew = 8;

/** Decoded rows of a task: half of what a core's second cache holds. */
constexpr int64_t kTaskBytes = 256 << 10;

/** Four panels: some microseconds of reading. */
constexpr int64_t kTaskRows = 4 * kPanel;

/** Rows of activations that are quantized at a time. */
constexpr int64_t kQuantizedRows = 8;

/** A block's largest magnitude / 127 is its scale. What is not finite makes it NaN, so that it shows in every result. */
SWITCHYARD_INLINE void quantizeBlock(const float* x, int8_t* values, float* scale) {
  constexpr float kMost = std::numeric_limits<float>::max();
  float largest = 0;
  int bad = 0;
#pragma omp simd reduction(max : largest) reduction(| : bad)
  for (int64_t i = 0; i < kQuantizedBlock; i++) {
    const float size = std::fabs(x[i]);
    bad |= !(size <= kMost);
    largest = size > largest ? size : largest;
  }
  const bool isNothing = largest < 127 * std::numeric_limits<float>::min();  // its inverse would be infinite
  *scale = bad ? std::numeric_limits<float>::quiet_NaN() : isNothing ? 0 : largest / 127;
  const float inverse = bad || isNothing ? 0 : 127 / largest;
#pragma omp simd
  for (int64_t i = 0; i < kQuantizedBlock; i++) {
    values[i] = bad ? 0 : static_cast<int8_t>(__builtin_nearbyintf(x[i] * inverse));
  }
}

SWITCHYARD_VECTORIZED
void quantizeRow(const float* x, int64_t blocks, int32_t sumFactor, int8_t* values, float* scales, int32_t* sums) {
  for (int64_t b = 0; b < blocks; b++, x += kQuantizedBlock, values += kQuantizedBlock) {
    quantizeBlock(x, values, scales + b);
    for (int64_t half = 0; half < 2; half++) {
      int32_t sum = 0;
      for (int64_t i = 0; i < kQuantizedBlock / 2; i++) sum += values[half * kQuantizedBlock / 2 + i];
      sums[2 * b + half] = sumFactor * sum;
    }
  }
}

}  // namespace

Activations::Activations(const at::Tensor& rows, const RowType& type)
    : rows_(rows.data_ptr<float>()), columns_(rows.size(1)) {
  if (type.panels != nullptr) quantize(type.panels->sumFactor, rows.size(0));
}

/** Makes room for so many rows. */
void Activations::take(int64_t count) {
  const int64_t blocks = columns_ / kQuantizedBlock;
  values_.resize(count * columns_);
  scales_.resize(count * blocks);
  sums_.resize(2 * count * blocks);
  quantized_.resize(count);
  for (int64_t i = 0; i < count; i++) {
    quantized_[i] = {values_.data() + i * columns_, scales_.data() + i * blocks, sums_.data() + 2 * i * blocks};
  }
}

void Activations::quantize(int32_t sumFactor, int64_t count) {
  const int64_t blocks = columns_ / kQuantizedBlock;
  take(count);
  const auto quantizeRows = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      quantizeRow(row(i), blocks, sumFactor, &values_[i * columns_], &scales_[i * blocks], &sums_[2 * i * blocks]);
    }
  };
  if (count <= kQuantizedRows) quantizeRows(0, count);
  else parallelRange(count, kQuantizedRows, quantizeRows);
}

std::vector<int64_t> Activations::inOrder(const std::vector<int64_t>& rows) {
  std::vector<int64_t> itself(rows.size());
  std::iota(itself.begin(), itself.end(), 0);
  if (quantized_.empty() || static_cast<int64_t>(rows.size()) <= kQuantizedRows || rows == itself) return rows;
  const std::vector<int8_t> values = std::move(values_);
  const std::vector<float> scales = std::move(scales_);
  const std::vector<int32_t> sums = std::move(sums_);
  const std::vector<QuantizedRow> from = std::move(quantized_);
  const int64_t blocks = columns_ / kQuantizedBlock;
  take(rows.size());
  parallelRange(rows.size(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const QuantizedRow& row = from[rows[i]];
      std::copy_n(row.values, columns_, &values_[i * columns_]);
      std::copy_n(row.scales, blocks, &scales_[i * blocks]);
      std::copy_n(row.sums, 2 * blocks, &sums_[2 * i * blocks]);
    }
  });
  return itself;
}

EncodedMatrix::EncodedMatrix(const at::Tensor& rows, const RowType& type, int64_t columns, int64_t index)
    : type_(type), outputs_(rows.size(-2)), columns_(columns), rowBytes_(rows.size(-1)) {
  TORCH_CHECK(columns % type.values == 0 && rowBytes_ == columns / type.values * type.bytes, "encoded rows of ",
              rowBytes_, " bytes are not ", columns, " values");
  TORCH_CHECK(type.panels == nullptr || outputs_ % kPanel == 0, "panels have a multiple of ", kPanel, " rows, not ",
              outputs_);
  data_ = rows.data_ptr<uint8_t>() + index * outputs_ * rowBytes_;
}

int64_t EncodedMatrix::rowsPerTask() const {
  if (type_.panels != nullptr) return kTaskRows;
  return std::clamp<int64_t>(kTaskBytes / (columns_ * static_cast<int64_t>(sizeof(float))), 8, 256);
}

void EncodedMatrix::decode(int64_t index, int64_t count, float* to) const {
  const int64_t blocks = columns_ / type_.values;
  if (type_.panels == nullptr) return type_.decode(row(index), to, count * blocks);
  std::vector<uint8_t> bytes(rowBytes_);
  for (int64_t i = 0; i < count; i++) {
    extractRow(*type_.panels, data_, index + i, rowBytes_, bytes.data());
    type_.decode(bytes.data(), to + i * columns_, blocks);
  }
}

void EncodedMatrix::multiplyPanels(const Activations& x, const int64_t* rows, int64_t count, int64_t begin,
                                   int64_t end, float* y, int64_t stride) const {
  const PanelProduct product = panelProduct(*type_.panels);
  Scratch scratch;
  const QuantizedRow* wanted = &x.quantized(0);
  if (rows != nullptr) {
    auto* gathered = scratch.take<QuantizedRow>(count);
    for (int64_t i = 0; i < count; i++) gathered[i] = x.quantized(rows[i]);
    wanted = gathered;
  }
  for (int64_t o = begin; o < end; o += kPanel) {
    product(row(o), columns_ / kQuantizedBlock, wanted, count, y + o, stride);
  }
}

/** Rows are decoded where that pays; the products are the same. */
void EncodedMatrix::multiplyRows(const Activations& x, const int64_t* rows, int64_t count, int64_t begin, int64_t end,
                                 float* y, int64_t stride) const {
  Scratch scratch;
  auto* wanted = scratch.take<const float*>(count);
  for (int64_t i = 0; i < count; i++) wanted[i] = x.row(rows == nullptr ? i : rows[i]);
  const int64_t outputs = end - begin;
  const bool isDecoded = type_.product == &PanelProducts::f32;
  if (isDecoded || (count <= kFew && type_.product != nullptr)) {
    return rowProduct(type_.product)({row(begin), rowBytes_, outputs, columns_}, wanted, count, y + begin, stride);
  }
  auto* weights = scratch.take<float>(outputs * columns_);
  decode(begin, outputs, weights);
  const int64_t rowBytes = columns_ * static_cast<int64_t>(sizeof(float));
  rowProduct(&PanelProducts::f32)({reinterpret_cast<const uint8_t*>(weights), rowBytes, outputs, columns_}, wanted, count,
                                  y + begin, stride);
}

void EncodedMatrix::multiply(const Activations& x, const int64_t* rows, int64_t count, int64_t begin, int64_t end,
                             float* y, int64_t stride) const {
  if (type_.panels != nullptr) return multiplyPanels(x, rows, count, begin, end, y, stride);
  multiplyRows(x, rows, count, begin, end, y, stride);
}

}  // namespace switchyard

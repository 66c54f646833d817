#include "encoded_matrix.h"

#include <algorithm>
#include <cstring>

#include "../common/gemm.h"
#include "../common/parallel.h"

namespace switchyard {
namespace {

/** So few rows of activations are not worth decoding a matrix for. */
constexpr int64_t kFew = 4;

/** Decoded rows of a task: half of what a core's second cache holds. */
constexpr int64_t kTaskBytes = 256 << 10;

}  // namespace

Activations::Activations(const at::Tensor& rows, const RowType& type, int64_t fewest)
    : rows_(rows.data_ptr<float>()),
      columns_(rows.size(1)),
      blocks_((columns_ + kQuantizedBlock - 1) / kQuantizedBlock) {
  if (type.dot == nullptr || fewest >= kMany) return;
  values_.resize(rows.numel());
  scales_.resize(rows.size(0) * blocks_);
  for (int64_t i = 0; i < rows.size(0); i++) quantizeRow(row(i), columns_, &values_[i * columns_], &scales_[i * blocks_]);
}

EncodedMatrix::EncodedMatrix(const at::Tensor& rows, const RowType& type, int64_t columns, int64_t index)
    : type_(type), outputs_(rows.size(-2)), columns_(columns), rowBytes_(rows.size(-1)) {
  TORCH_CHECK(columns % type.values == 0 && rowBytes_ == columns / type.values * type.bytes, "encoded rows of ",
              rowBytes_, " bytes are not ", columns, " values");
  data_ = rows.data_ptr<uint8_t>() + index * outputs_ * rowBytes_;
}

int64_t EncodedMatrix::rowsPerTask() const {
  return std::clamp<int64_t>(kTaskBytes / (columns_ * static_cast<int64_t>(sizeof(float))), 8, 256);
}

void EncodedMatrix::decode(int64_t index, int64_t count, float* to) const {
  type_.decode(row(index), to, count * (columns_ / type_.values));
}

void EncodedMatrix::multiply(const Activations& x, const int64_t* rows, int64_t count, int64_t begin, int64_t end,
                             float* y, int64_t stride) const {
  const auto source = [&](int64_t i) { return rows == nullptr ? i : rows[i]; };
  const bool quantized = x.areQuantized(count);
  if (quantized || (count <= kFew && type_.dotWide != nullptr)) {
    for (int64_t o = begin; o < end; o++) {
      for (int64_t i = 0; i < count; i++) {
        y[i * stride + o] = quantized ? type_.dot(row(o), x.quantized(source(i)), columns_ / type_.values)
                                      : type_.dotWide(row(o), x.row(source(i)), columns_);
      }
    }
    return;
  }
  Scratch scratch;
  float* weights = scratch.take<float>((end - begin) * columns_);
  decode(begin, end - begin, weights);
  const float* gathered = x.row(0);
  if (rows != nullptr) {
    float* to = scratch.take<float>(count * columns_);
    for (int64_t i = 0; i < count; i++) std::memcpy(to + i * columns_, x.row(rows[i]), columns_ * sizeof(float));
    gathered = to;
  }
  gemm(count, end - begin, columns_, {gathered, columns_}, Matrix<float>{weights, columns_}.t(), 0.0f, y + begin,
       stride);
}

}  // namespace switchyard

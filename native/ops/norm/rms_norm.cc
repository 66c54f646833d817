#include "rms_norm.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "../common/accumulator.h"
#include "../common/parallel.h"
#include "../common/simd.h"

namespace switchyard {
namespace {

template <typename T>
SWITCHYARD_INLINE T normalizeLoop(const T* __restrict x, const T* __restrict weight, T eps, T* __restrict y,
                                  int64_t count) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += x[i] * x[i];
  const T scale = T(1) / std::sqrt(sum / static_cast<T>(count) + eps);
  for (int64_t i = 0; i < count; i++) y[i] = x[i] * scale * weight[i];
  return scale;
}

/** With `s` the row's scale: `dx = s (w dy - x s^2 mean(w dy x))`, `dw += dy x s`. */
template <typename T>
SWITCHYARD_INLINE void backwardLoop(const T* __restrict dY, const T* __restrict x, const T* __restrict weight, T scale,
                                    T* __restrict dX, T* __restrict dWeight, int64_t count) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += weight[i] * dY[i] * x[i];
  const T common = sum * scale * scale / static_cast<T>(count);
  for (int64_t i = 0; i < count; i++) {
    dX[i] = scale * (weight[i] * dY[i] - x[i] * common);
    dWeight[i] += dY[i] * x[i] * scale;
  }
}

SWITCHYARD_VECTORIZED
float normalizeRow(const float* x, const float* weight, float eps, float* y, int64_t count) {
  return normalizeLoop(x, weight, eps, y, count);
}

double normalizeRow(const double* x, const double* weight, double eps, double* y, int64_t count) {
  return normalizeLoop(x, weight, eps, y, count);
}

SWITCHYARD_VECTORIZED
void backwardRow(const float* dY, const float* x, const float* weight, float scale, float* dX, float* dWeight,
                 int64_t count) {
  backwardLoop(dY, x, weight, scale, dX, dWeight, count);
}

void backwardRow(const double* dY, const double* x, const double* weight, double scale, double* dX, double* dWeight,
                 int64_t count) {
  backwardLoop(dY, x, weight, scale, dX, dWeight, count);
}

/** Rows whose weight gradients are summed apart, so that the sum does not depend on who computed what. */
constexpr int64_t kRowsPerPart = 256;

}  // namespace

// bf16 rows are widened, normalized in f32 and narrowed again.

std::tuple<at::Tensor, at::Tensor> rmsNormForward(const at::Tensor& x, const at::Tensor& weight, double eps) {
  TORCH_CHECK(weight.dim() == 1 && x.dim() >= 1 && x.size(-1) == weight.size(0), "weight ", weight.sizes(),
              " does not fit x ", x.sizes());
  const at::ScalarType acc = accumulatorOf(x);
  const at::Tensor rows = x.to(acc).contiguous(), scales = weight.to(acc).contiguous();
  const int64_t width = weight.size(0), count = width == 0 ? 0 : rows.numel() / width;
  at::Tensor y = at::empty(x.sizes(), rows.options());
  at::Tensor scale = at::empty({count}, rows.options());
  AT_DISPATCH_FLOATING_TYPES(acc, "switchyard::rms_norm", [&] {
    parallelRange(count, 64, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        scale.data_ptr<scalar_t>()[row] =
            normalizeRow(rows.data_ptr<scalar_t>() + row * width, scales.data_ptr<scalar_t>(),
                         static_cast<scalar_t>(eps), y.data_ptr<scalar_t>() + row * width, width);
      }
    });
  });
  return {y.to(x.scalar_type()), scale};
}

std::tuple<at::Tensor, at::Tensor> rmsNormBackward(const at::Tensor& dY, const at::Tensor& x, const at::Tensor& weight,
                                                   const at::Tensor& scale) {
  const at::ScalarType acc = scale.scalar_type();
  const auto wide = [acc](const at::Tensor& tensor) { return tensor.to(acc).contiguous(); };
  const at::Tensor gradients = wide(dY), rows = wide(x), scales = wide(weight);
  const int64_t width = weight.size(0), count = scale.numel();
  const int64_t parts = (count + kRowsPerPart - 1) / kRowsPerPart;
  at::Tensor dX = at::empty(x.sizes(), rows.options());
  at::Tensor dWeights = at::zeros({parts, width}, rows.options());
  AT_DISPATCH_FLOATING_TYPES(acc, "switchyard::rms_norm", [&] {
    parallelRange(parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin * kRowsPerPart; row < std::min(end * kRowsPerPart, count); row++) {
        const int64_t at = row * width;
        backwardRow(gradients.data_ptr<scalar_t>() + at, rows.data_ptr<scalar_t>() + at, scales.data_ptr<scalar_t>(),
                    scale.data_ptr<scalar_t>()[row], dX.data_ptr<scalar_t>() + at,
                    dWeights.data_ptr<scalar_t>() + row / kRowsPerPart * width, width);
      }
    });
  });
  return {dX.to(x.scalar_type()), dWeights.sum(0).to(weight.scalar_type())};
}

}  // namespace switchyard

// Shapes: B matrices, N rows, I inputs, O outputs.

#include "steady_products.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "../common/helpers.h"
#include "../common/scratch.h"
#include "panel_products.h"

namespace switchyard {
namespace {

/** Outputs of a task. */
constexpr int64_t kTaskOutputs = 64;

/** Columns begin .. end of a matrix [I, O] as rows of their own. */
void turn(const at::Tensor& w, int64_t matrix, int64_t begin, int64_t end, float* rows) {
  const int64_t inputs = w.size(1), down = w.stride(1), across = w.stride(2);
  const float* from = w.data_ptr<float>() + matrix * w.stride(0) + begin * across;
  for (int64_t i = 0; i < inputs; i++) {
    for (int64_t o = 0; o < end - begin; o++) rows[o * inputs + i] = from[i * down + o * across];
  }
}

}  // namespace

at::Tensor steadyProducts(const at::Tensor& x, const at::Tensor& w) {
  TORCH_CHECK(x.scalar_type() == at::kFloat && w.scalar_type() == at::kFloat && x.is_cpu() && w.is_cpu() && x.dim() == 3 &&
                  w.dim() == 3 && x.size(0) == w.size(0) && x.size(2) == w.size(1),
              "products are of f32 [B, N, I] and [B, I, O] on the cpu, got ", x.sizes(), " and ", w.sizes());
  const at::Tensor input = x.contiguous();
  const int64_t rows = x.size(1), inputs = x.size(2), outputs = w.size(2);
  at::Tensor y = at::empty({x.size(0), rows, outputs}, x.options());
  if (y.numel() == 0) return y;
  const int64_t parts = (outputs + kTaskOutputs - 1) / kTaskOutputs;
  const RowProduct product = rowProduct(&PanelProducts::f32);
  helpedTasks(x.size(0) * parts, [&](int64_t task) {
    const int64_t matrix = task / parts, begin = task % parts * kTaskOutputs, end = std::min(begin + kTaskOutputs, outputs);
    Scratch scratch;
    auto* wanted = scratch.take<const float*>(rows);
    for (int64_t i = 0; i < rows; i++) wanted[i] = input.data_ptr<float>() + (matrix * rows + i) * inputs;
    const float* weights = w.data_ptr<float>() + matrix * w.stride(0) + begin * w.stride(2);
    int64_t step = w.stride(2);
    if (w.stride(1) != 1) {
      auto* turned = scratch.take<float>((end - begin) * inputs);
      turn(w, matrix, begin, end, turned);
      weights = turned;
      step = inputs;
    }
    product({reinterpret_cast<const uint8_t*>(weights), step * static_cast<int64_t>(sizeof(float)), end - begin, inputs},
            wanted, rows, y.data_ptr<float>() + matrix * rows * outputs + begin, outputs);
  });
  return y;
}

}  // namespace switchyard

// Work is cut into parts of matrices, which all threads share: one expert with all the tokens costs no more than many with few.
// Shapes: T tokens, D model, E experts, K choices, F expert width, N filled slots (rows), W = 2F when gated, else F.

#include "encoded.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "../common/elementwise.h"
#include "../common/helpers.h"
#include "../common/parallel.h"
#include "../experts/activation.h"
#include "../experts/slots.h"
#include "encoded_matrix.h"

namespace switchyard {
namespace {

/** So few products are done before another thread would be awake. */
constexpr int64_t kWorthThreads = 1 << 17;

template <typename Task>
void runTasks(int64_t count, int64_t products, const Task& task) {
  if (products < kWorthThreads) {
    const Alone guard;
    for (int64_t i = 0; i < count; i++) task(i);
  } else {
    helpedTasks(count, task);
  }
}

at::Tensor requireRows(const at::Tensor& rows, int64_t dimensions, const char* name) {
  TORCH_CHECK(rows.scalar_type() == at::kByte && rows.dim() == dimensions && rows.is_cpu(), name, " must be u8 with ",
              dimensions, " dimensions on the cpu, got ", rows.scalar_type(), " ", rows.sizes());
  return rows.contiguous();
}

at::Tensor requireActivations(const at::Tensor& x) {
  TORCH_CHECK(x.scalar_type() == at::kFloat && x.dim() == 2 && x.is_cpu(), "x must be f32 [N, I] on the cpu, got ",
              x.scalar_type(), " ", x.sizes());
  return x.contiguous();
}

/** Rows begin .. end of one expert's matrix. */
struct Part {
  int64_t expert;
  int64_t begin;
  int64_t end;
};

/** The matrices of experts with tokens, in parts; those with most tokens first. */
std::vector<Part> partsOf(const SortedSlots& slots, int64_t outputs, int64_t rowsPerTask) {
  std::vector<Part> parts;
  for (int64_t e = 0; e + 1 < static_cast<int64_t>(slots.offsets.size()); e++) {
    if (slots.offsets[e] == slots.offsets[e + 1]) continue;
    for (int64_t begin = 0; begin < outputs; begin += rowsPerTask) {
      parts.push_back({e, begin, std::min(begin + rowsPerTask, outputs)});
    }
  }
  const auto rows = [&](const Part& part) { return slots.offsets[part.expert + 1] - slots.offsets[part.expert]; };
  std::stable_sort(parts.begin(), parts.end(), [&](const Part& a, const Part& b) { return rows(a) > rows(b); });
  return parts;
}

/** `out[row] = x[source(row)] W_e^T` for the rows of each expert: [N, O]. */
at::Tensor throughExperts(const at::Tensor& x, const std::vector<int64_t>& sources, const at::Tensor& stack,
                          const RowType& type, const SortedSlots& slots) {
  const int64_t outputs = stack.size(1), columns = x.size(1);
  at::Tensor out = at::empty({slots.rows(), outputs}, x.options());
  if (slots.rows() == 0) return out;
  Activations activations(x, type);
  const std::vector<int64_t> order = activations.inOrder(sources);
  const std::vector<Part> parts = partsOf(slots, outputs, EncodedMatrix(stack, type, columns).rowsPerTask());
  runTasks(parts.size(), slots.rows() * outputs * columns, [&](int64_t i) {
    const Part& part = parts[i];
    const int64_t first = slots.offsets[part.expert];
    const EncodedMatrix matrix(stack, type, columns, part.expert);
    matrix.multiply(activations, &order[first], slots.offsets[part.expert + 1] - first, part.begin, part.end,
                    out.data_ptr<float>() + first * outputs, outputs);
  });
  return out;
}

/** Adds to each row its expert's bias of `width` numbers: [N, width], or more in panels. */
void addBiases(at::Tensor& rows, const c10::optional<at::Tensor>& biases, int64_t width, const at::Tensor& indices,
               const SortedSlots& slots) {
  if (!biases.has_value()) return;
  const at::Tensor all = biases->contiguous(), chosen = indices.contiguous();
  TORCH_CHECK(all.scalar_type() == at::kFloat && all.dim() == 2 && all.size(1) == width, "biases must be f32 [E, ", width,
              "], got ", all.scalar_type(), " ", all.sizes());
  const int64_t count = all.size(0);
  for (int64_t row = 0; row < slots.rows(); row++) {
    const int64_t expert = chosen.data_ptr<int64_t>()[slots.slotOfRow[row]];
    TORCH_CHECK(expert >= 0 && expert < count, "expert ", expert, " has no bias among ", count);
    addScaled(all.data_ptr<float>() + expert * width, 1, rows.data_ptr<float>() + row * rows.size(1), width);
  }
}

/** The first 2F numbers of each row are gate and up, or F of up alone: [N, W] -> [N, F]. */
at::Tensor activated(const at::Tensor& hidden, const EncodedExperts& experts, int64_t width) {
  const bool clamped = experts.activation == "clamped", gated = experts.gated;
  TORCH_CHECK(gated || !clamped, "clamped experts are gated");
  const Activation activation = clamped ? Activation::Silu : parseActivation(experts.activation);
  const int64_t rows = hidden.size(0);
  at::Tensor a = at::empty({rows, width}, hidden.options());
  parallelRange(rows, 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const float* gate = hidden.data_ptr<float>() + row * hidden.size(1);
      float* to = a.data_ptr<float>() + row * width;
      if (clamped) activateClamped(static_cast<float>(experts.limit), gate, gate + width, to, width);
      else activate(activation, gate, gated ? gate + width : nullptr, to, width);
    }
  });
  return a;
}

/** `y_t = sum_k weights[t, k] rowOf(t K + k)` over the choices that have a row. */
template <typename RowOf>
at::Tensor sumPerToken(const at::Tensor& weights, int64_t width, const RowOf& rowOf) {
  const int64_t tokens = weights.size(0), choices = weights.size(1);
  at::Tensor y = at::empty({tokens, width}, weights.options());
  parallelRange(tokens, 64, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; token++) {
      float* to = y.data_ptr<float>() + token * width;
      std::memset(to, 0, width * sizeof(float));
      for (int64_t slot = token * choices; slot < (token + 1) * choices; slot++) {
        const float* row = rowOf(slot);
        if (row != nullptr) addScaled(row, weights.data_ptr<float>()[slot], to, width);
      }
    }
  });
  return y;
}

/** Rows that a matrix of so many outputs is stored in. */
int64_t rowsOf(int64_t outputs, const RowType& type) {
  return type.panels == nullptr ? outputs : (outputs + kPanel - 1) / kPanel * kPanel;
}

/** What experts gave, by expert. */
struct SortedRows {
  SortedSlots slots;
  at::Tensor rows;  // f32 [N, D]; D rounded up in panels
};

SortedRows throughChosen(const at::Tensor& x, const ChosenExperts& chosen, const EncodedExperts& experts) {
  const auto& [indices, places] = chosen;
  const at::Tensor tokens = requireActivations(x);
  const at::Tensor up = requireRows(experts.up, 3, "up"), down = requireRows(experts.down, 3, "down");
  const RowType &upType = rowTypeOf(experts.upType), &downType = rowTypeOf(experts.downType);
  const int64_t width = down.size(2) / downType.bytes * downType.values;
  TORCH_CHECK(up.size(0) == down.size(0) && down.size(1) == rowsOf(x.size(1), downType) &&
                  up.size(1) == rowsOf(experts.gated ? 2 * width : width, upType) && indices.dim() == 2 &&
                  indices.size(0) == x.size(0) && places.sizes() == indices.sizes(),
              "experts ", up.sizes(), " and ", down.sizes(), " and choices ", indices.sizes(), " do not fit x ",
              x.sizes());
  SortedSlots slots = sortSlots(places, up.size(0));
  std::vector<int64_t> tokenOfRow(slots.rows()), itself(slots.rows());
  for (int64_t row = 0; row < slots.rows(); row++) {
    tokenOfRow[row] = slots.slotOfRow[row] / indices.size(1);
    itself[row] = row;
  }
  at::Tensor hidden = throughExperts(tokens, tokenOfRow, up, upType, slots);  // [N, W]
  addBiases(hidden, experts.upBias, experts.gated ? 2 * width : width, indices, slots);
  const at::Tensor a = activated(hidden, experts, width);              // [N, F]
  at::Tensor rows = throughExperts(a, itself, down, downType, slots);  // [N, D]
  addBiases(rows, experts.downBias, x.size(1), indices, slots);
  return {std::move(slots), rows};
}

}  // namespace

namespace {

/** Whether each matrix has its rows one after the other, and matrices are a dimension at most. */
bool areMatrices(const at::Tensor& rows) {
  const bool isWhole = rows.stride(-1) == 1 && (rows.size(-2) == 1 || rows.stride(-2) == rows.size(-1));
  return isWhole && (rows.dim() <= 3 || rows.is_contiguous());
}

}  // namespace

void encodedPanelsInto(const at::Tensor& rows, const std::string& type, at::Tensor& panels) {
  const PanelType* kind = panelTypeOf(type);
  TORCH_CHECK(kind != nullptr, "there are no panels of type '", type, "'");
  TORCH_CHECK(rows.scalar_type() == at::kByte && rows.is_cpu() && rows.dim() >= 2 && rows.size(-1) % kind->blockBytes == 0,
              "rows of ", type, " must be u8 [..., rows, bytes], got ", rows.scalar_type(), " ", rows.sizes());
  const int64_t outputs = rows.size(-2), rowBytes = rows.size(-1), perMatrix = (outputs + kPanel - 1) / kPanel;
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[shape.size() - 2] = perMatrix * kPanel;
  TORCH_CHECK(panels.scalar_type() == at::kByte && panels.is_cpu() && panels.sizes() == at::IntArrayRef(shape),
              "panels of rows ", rows.sizes(), " are u8 ", at::IntArrayRef(shape), ", got ", panels.scalar_type(), " ",
              panels.sizes());
  if (panels.numel() == 0) return;
  const at::Tensor source = areMatrices(rows) ? rows : rows.contiguous();
  TORCH_CHECK(areMatrices(panels), "panels lie one after the other");
  const int64_t matrices = rows.numel() / (outputs * rowBytes);
  const auto step = [&](const at::Tensor& of, int64_t rowsOfEach) {
    return of.dim() == 3 ? of.stride(0) : rowsOfEach * rowBytes;
  };
  const int64_t from = step(source, outputs), to = step(panels, perMatrix * kPanel);
  parallelRange(matrices * perMatrix, std::max<int64_t>(1, (1 << 16) / (kPanel * rowBytes)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t matrix = i / perMatrix, first = i % perMatrix * kPanel;
      interleave(*kind, source.data_ptr<uint8_t>() + matrix * from + first * rowBytes, std::min(kPanel, outputs - first),
                 rowBytes, panels.data_ptr<uint8_t>() + matrix * to + first * rowBytes);
    }
  });
}

at::Tensor encodedLinear(const at::Tensor& x, const at::Tensor& rows, const std::string& type, int64_t outputs,
                         const c10::optional<at::Tensor>& bias) {
  const at::Tensor input = requireActivations(x), stored = requireRows(rows, 2, "encoded weights");
  const RowType& kind = rowTypeOf(type);
  TORCH_CHECK(stored.size(0) == rowsOf(outputs, kind), "encoded weights of ", stored.size(0), " rows are not for ",
              outputs, " outputs");
  const EncodedMatrix matrix(stored, kind, input.size(1));
  const Activations activations(input, kind);
  const int64_t count = input.size(0), stride = matrix.outputs(), part = matrix.rowsPerTask();
  at::Tensor y = at::empty({count, stride}, input.options());
  if (count > 0) {
    const int64_t tasks = (stride + part - 1) / part;
    runTasks(tasks, count * stride * input.size(1), [&](int64_t i) {
      matrix.multiply(activations, nullptr, count, i * part, std::min((i + 1) * part, stride), y.data_ptr<float>(),
                      stride);
    });
  }
  if (stride > outputs) y = y.narrow(1, 0, outputs);
  return bias.has_value() ? y.add_(*bias) : y;
}

at::Tensor encodedRows(const at::Tensor& rows, const std::string& type, const at::Tensor& indices) {
  const at::Tensor stored = requireRows(rows, 2, "encoded rows");
  const RowType& kind = rowTypeOf(type);
  TORCH_CHECK(stored.size(1) % kind.bytes == 0, "encoded rows of ", stored.size(1), " bytes are no ", type);
  const int64_t columns = stored.size(1) / kind.bytes * kind.values;
  const EncodedMatrix matrix(stored, kind, columns);
  const at::Tensor wanted = indices.contiguous();
  at::Tensor out = at::empty({wanted.numel(), columns}, stored.options().dtype(at::kFloat));
  for (int64_t i = 0; i < wanted.numel(); i++) {
    const int64_t row = wanted.data_ptr<int64_t>()[i];
    TORCH_CHECK_INDEX(row >= 0 && row < stored.size(0), "index ", row, " is outside of ", stored.size(0), " rows");
    matrix.decode(row, 1, out.data_ptr<float>() + i * columns);
  }
  return out;
}

void encodedExpertRows(const at::Tensor& x, const ChosenExperts& chosen, const EncodedExperts& experts,
                       at::Tensor& rows) {
  const at::Tensor& indices = chosen.indices;
  TORCH_CHECK(rows.scalar_type() == at::kFloat && rows.is_contiguous() && rows.dim() == 3 &&
                  rows.size(0) == indices.size(0) && rows.size(1) == indices.size(1) && rows.size(2) == x.size(1),
              "rows of experts are f32 [T, K, D], got ", rows.sizes(), " for choices ", indices.sizes());
  const SortedRows outputs = throughChosen(x, chosen, experts);
  const int64_t width = x.size(1), stride = outputs.rows.size(1);
  for (int64_t row = 0; row < outputs.slots.rows(); row++) {
    std::memcpy(rows.data_ptr<float>() + outputs.slots.slotOfRow[row] * width,
                outputs.rows.data_ptr<float>() + row * stride, width * sizeof(float));
  }
}

at::Tensor sumChoices(const at::Tensor& rows, const at::Tensor& indices, const at::Tensor& weights) {
  TORCH_CHECK(rows.scalar_type() == at::kFloat && rows.dim() == 3 && indices.sizes() == weights.sizes() &&
                  indices.sizes() == rows.sizes().slice(0, 2),
              "rows ", rows.sizes(), ", choices ", indices.sizes(), " and weights ", weights.sizes(), " do not fit");
  const at::Tensor source = rows.contiguous(), shares = weights.to(at::kFloat).contiguous();
  const at::Tensor chosen = indices.to(at::kLong).contiguous();
  const int64_t width = rows.size(2);
  return sumPerToken(shares, width, [&](int64_t slot) -> const float* {
    return chosen.data_ptr<int64_t>()[slot] < 0 ? nullptr : source.data_ptr<float>() + slot * width;
  });
}

at::Tensor encodedExperts(const at::Tensor& x, const ChosenExperts& chosen, const at::Tensor& weights,
                          const EncodedExperts& experts) {
  TORCH_CHECK(chosen.indices.sizes() == weights.sizes(), "choices ", chosen.indices.sizes(), " and weights ", weights.sizes(),
              " do not fit");
  const SortedRows outputs = throughChosen(x, chosen, experts);
  const int64_t stride = outputs.rows.size(1);
  return sumPerToken(weights.to(at::kFloat).contiguous(), x.size(1), [&](int64_t slot) -> const float* {
    const int64_t row = outputs.slots.rowOfSlot[slot];
    return row < 0 ? nullptr : outputs.rows.data_ptr<float>() + row * stride;
  });
}

}  // namespace switchyard

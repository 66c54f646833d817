// Layers on encoded weights as libtorch operators.

#include <c10/core/GradMode.h>
#include <torch/library.h>

#include "encoded.h"
#include "panels.h"
#include "row_reader.h"

namespace switchyard {
namespace {

void refuseGradient(const at::Tensor& x) {
  TORCH_CHECK(!(c10::GradMode::is_enabled() && x.requires_grad()),
              "encoded weights have no gradient: use noGrad(), or load the model in f32");
}

at::Tensor linearOp(const at::Tensor& x, const at::Tensor& rows, std::string type, int64_t outputs,
                    const c10::optional<at::Tensor>& bias) {
  refuseGradient(x);
  return encodedLinear(x, rows, type, outputs, bias);
}

at::Tensor expertsOp(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& weights, const at::Tensor& up,
                     std::string upType, const at::Tensor& down, std::string downType, std::string activation,
                     bool gated) {
  refuseGradient(x);
  return encodedExperts(x, indices, weights, {up, upType, down, downType, activation, gated});
}

void expertRowsOp(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& up, std::string upType,
                  const at::Tensor& down, std::string downType, std::string activation, bool gated, at::Tensor rows) {
  refuseGradient(x);
  encodedExpertRows(x, indices, {up, upType, down, downType, activation, gated}, rows);
}

int64_t startReadOp(const at::Tensor& to, std::string type, std::vector<int64_t> files, std::vector<int64_t> offsets,
                    std::vector<int64_t> bytes) {
  TORCH_CHECK(files.size() == offsets.size() && files.size() == bytes.size(), "ranges need a file, offset and length each");
  std::vector<FileRange> ranges;
  for (size_t i = 0; i < files.size(); i++) ranges.push_back({static_cast<int>(files[i]), offsets[i], bytes[i]});
  return startRead(to, type, ranges);
}

at::Tensor rowsOp(const at::Tensor& rows, std::string type, const at::Tensor& indices) {
  return encodedRows(rows, type, indices);
}

at::Tensor panelsOp(const at::Tensor& rows, std::string type) { return encodedPanels(rows, type); }

std::vector<std::string> panelTypesOp() { return panelTypes(); }
std::string simdChoiceOp() { return simdChoice(); }
std::vector<std::string> simdLevelsOp() { return simdLevels(); }
void chooseSimdOp(std::string level) { chooseSimd(level); }

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("encoded_linear(Tensor x, Tensor rows, str type, int outputs, Tensor? bias=None) -> Tensor", &linearOp);
  library.def(
      "encoded_expert_rows(Tensor x, Tensor indices, Tensor up, str up_type, Tensor down, str down_type, "
      "str activation, bool gated, Tensor(a!) rows) -> ()",
      &expertRowsOp);
  library.def("sum_choices(Tensor rows, Tensor indices, Tensor weights) -> Tensor", &sumChoices);
  library.def("start_read(Tensor to, str type, int[] files, int[] offsets, int[] bytes) -> int", &startReadOp);
  library.def("finish_read(int ticket) -> ()", &finishRead);
  library.def("encoded_panels(Tensor rows, str type) -> Tensor", &panelsOp);
  library.def("panel_types() -> str[]", &panelTypesOp);
  library.def("simd_choice() -> str", &simdChoiceOp);
  library.def("simd_levels() -> str[]", &simdLevelsOp);
  library.def("choose_simd(str level) -> ()", &chooseSimdOp);
  library.def("encoded_rows(Tensor rows, str type, Tensor indices) -> Tensor", &rowsOp);
  library.def(
      "encoded_experts(Tensor x, Tensor indices, Tensor weights, Tensor up, str up_type, Tensor down, str down_type, "
      "str activation, bool gated) -> Tensor",
      &expertsOp);
}

}  // namespace switchyard

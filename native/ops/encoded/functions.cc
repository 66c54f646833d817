// Layers on encoded weights as libtorch operators.

#include <c10/core/GradMode.h>
#include <torch/library.h>

#include "encoded.h"
#include "packing.h"
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

at::Tensor expertsOp(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& places,
                     const at::Tensor& weights, const at::Tensor& up, std::string upType, const at::Tensor& down,
                     std::string downType, std::string activation, bool gated, double limit,
                     const c10::optional<at::Tensor>& upBias, const c10::optional<at::Tensor>& downBias) {
  refuseGradient(x);
  return encodedExperts(x, {indices, places}, weights,
                        {up, upType, down, downType, activation, gated, limit, upBias, downBias});
}

void expertRowsOp(const at::Tensor& x, const at::Tensor& indices, const at::Tensor& places, at::Tensor rows,
                  const at::Tensor& up, std::string upType, const at::Tensor& down, std::string downType,
                  std::string activation, bool gated, double limit, const c10::optional<at::Tensor>& upBias,
                  const c10::optional<at::Tensor>& downBias) {
  refuseGradient(x);
  encodedExpertRows(x, {indices, places}, {up, upType, down, downType, activation, gated, limit, upBias, downBias},
                    rows);
}

int64_t startReadOp(const at::Tensor& to, std::string type, std::string packing, bool alternating,
                    std::vector<int64_t> files, std::vector<int64_t> offsets, std::vector<int64_t> bytes,
                    int64_t urgency) {
  TORCH_CHECK(urgency >= 0 && urgency <= 2, "a read is needed (0), a guess (1) or spare (2), not ", urgency);
  TORCH_CHECK(files.size() == offsets.size() && files.size() == bytes.size(), "ranges need a file, offset and length each");
  std::vector<FileRange> ranges;
  for (size_t i = 0; i < files.size(); i++) ranges.push_back({static_cast<int>(files[i]), offsets[i], bytes[i]});
  return startRead(to, type, {ranges, packing, alternating}, static_cast<Urgency>(urgency));
}

at::Tensor rowsOp(const at::Tensor& rows, std::string type, const at::Tensor& indices) {
  return encodedRows(rows, type, indices);
}

at::Tensor packedRowsOp(const at::Tensor& values, const at::Tensor& scales, std::string packing) {
  return packedRows(values, scales, packing);
}

void panelsOp(const at::Tensor& rows, std::string type, at::Tensor panels) { encodedPanelsInto(rows, type, panels); }

std::vector<std::string> panelTypesOp() { return panelTypes(); }
std::string simdChoiceOp() { return simdChoice(); }
std::vector<std::string> simdLevelsOp() { return simdLevels(); }
void chooseSimdOp(std::string level) { chooseSimd(level); }

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("encoded_linear(Tensor x, Tensor rows, str type, int outputs, Tensor? bias=None) -> Tensor", &linearOp);
  library.def(
      "encoded_expert_rows(Tensor x, Tensor indices, Tensor places, Tensor(a!) rows, Tensor up, str up_type, "
      "Tensor down, str down_type, str activation, bool gated, float limit, Tensor? up_bias=None, "
      "Tensor? down_bias=None) -> ()",
      &expertRowsOp);
  library.def("sum_choices(Tensor rows, Tensor indices, Tensor weights) -> Tensor", &sumChoices);
  library.def(
      "start_read(Tensor to, str type, str packing, bool alternating, int[] files, int[] offsets, int[] bytes, "
      "int urgency=0) -> int",
      &startReadOp);
  library.def("packed_rows(Tensor values, Tensor scales, str packing) -> Tensor", &packedRowsOp);
  library.def("finish_read(int ticket) -> ()", &finishRead);
  library.def("hurry_read(int ticket) -> ()", &hurryRead);
  library.def("cancel_read(int ticket) -> bool", &cancelRead);
  library.def("has_read(int ticket) -> bool", &hasRead);
  library.def("encoded_panels(Tensor rows, str type, Tensor(a!) panels) -> ()", &panelsOp);
  library.def("panel_types() -> str[]", &panelTypesOp);
  library.def("simd_choice() -> str", &simdChoiceOp);
  library.def("simd_levels() -> str[]", &simdLevelsOp);
  library.def("choose_simd(str level) -> ()", &chooseSimdOp);
  library.def("encoded_rows(Tensor rows, str type, Tensor indices) -> Tensor", &rowsOp);
  library.def(
      "encoded_experts(Tensor x, Tensor indices, Tensor places, Tensor weights, Tensor up, str up_type, "
      "Tensor down, str down_type, str activation, bool gated, float limit, Tensor? up_bias=None, "
      "Tensor? down_bias=None) -> Tensor",
      &expertsOp);
}

}  // namespace switchyard

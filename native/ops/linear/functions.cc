// A linear layer as a libtorch operator with autograd, and which library computes it.

#include <ATen/ops/linear.h>

#include "../common/functions.h"
#include "../common/gemm_library.h"
#include "linear.h"

namespace switchyard {
namespace {

struct LinearFunction : Function<LinearFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            const c10::optional<at::Tensor>& bias) {
    context->save_for_backward({x, weight});
    if (bias.has_value()) context->saved_data["bias"] = static_cast<int64_t>(bias->scalar_type());
    return linearForward(x, weight, bias.value_or(at::Tensor()));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor dY = gradients[0].contiguous();
    const auto& data = context->saved_data;
    const auto bias = data.find("bias");
    const bool again = c10::GradMode::is_enabled();  // for a second derivative, by operators that have one
    const auto dX = [&] { return again ? dY.matmul(saved[1]) : linearInputGradient(dY, saved[1]); };
    const auto dWeight = [&] { return again ? dY.t().matmul(saved[0]) : linearWeightGradient(dY, saved[0]); };
    return {context->needs_input_grad(0) ? dX() : at::Tensor(), context->needs_input_grad(1) ? dWeight() : at::Tensor(),
            bias == data.end() ? at::Tensor()
                               : dY.sum(0, false, static_cast<at::ScalarType>(bias->second.toInt()))};
  }
};

at::Tensor linearLayer(const at::Tensor& x, const at::Tensor& weight, const c10::optional<at::Tensor>& bias) {
  if (!hasOwnKernel(x)) return at::linear(x, weight, bias);
  requireAlike("the weights", x, {weight});
  TORCH_CHECK(!bias.has_value() || bias->device() == x.device(), "the bias is on another device than the input");
  TORCH_CHECK(weight.dim() == 2 && x.dim() >= 1 && x.size(-1) == weight.size(1), "weights ", weight.sizes(),
              " do not fit x ", x.sizes());
  std::vector<int64_t> sizes = x.sizes().vec();
  sizes.back() = weight.size(0);
  const at::Tensor rows = x.dim() == 1 ? x.unsqueeze(0) : x.flatten(0, -2);
  return LinearFunction::apply(rows.contiguous(), weight.contiguous(), bias).view(sizes);
}

at::Tensor autocastLinear(const at::Tensor& x, const at::Tensor& weight, const c10::optional<at::Tensor>& bias) {
  const c10::impl::ExcludeDispatchKeyGuard below(AutocastCpu::key);
  return linearLayer(AutocastCpu::narrowed(x), AutocastCpu::narrowed(weight), bias);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("linear(Tensor x, Tensor weight, Tensor? bias=None) -> Tensor", &linearLayer);
  library.def("gemm_choice() -> str", &gemmChoice);
  library.def("gemm_libraries() -> str[]", &gemmLibraries);
  library.def("choose_gemm(str choice) -> ()", [](std::string choice) { chooseGemm(choice); });
  library.def("has_fast_bf16() -> bool", &hasFastBf16);
}

TORCH_LIBRARY_IMPL(switchyard, AutocastCPU, library) { library.impl("linear", &autocastLinear); }

}  // namespace switchyard

// The head and its loss as libtorch operators with autograd.

#include "../common/functions.h"
#include "linear_cross_entropy.h"

namespace switchyard {
namespace {

struct LinearCrossEntropyFunction : Function<LinearCrossEntropyFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                            const at::Tensor& targets, int64_t ignored, bool withGradients) {
    const LinearCrossEntropy result = linearCrossEntropy(hidden, weight, targets, ignored, withGradients);
    context->save_for_backward({result.dHidden, result.dWeight});
    return result.loss;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const double factor = gradients[0].item<double>();
    if (factor == 1) return {saved[0], saved[1], {}, {}, {}};
    return {saved[0].mul(factor), saved[1].mul(factor), {}, {}, {}};
  }
};

/** The same by leaves. Backward multiplies on the device by what it is given, so that nobody waits for that number. */
struct ChunkedCrossEntropyFunction : Function<ChunkedCrossEntropyFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                            const at::Tensor& targets, int64_t ignored, int64_t rows, bool withGradients) {
    const ChunkedCrossEntropy result = chunkedCrossEntropy(hidden, weight, targets, ignored, rows, withGradients);
    context->save_for_backward({result.dHidden, result.dWeight, result.share});
    context->saved_data["hidden"] = static_cast<int64_t>(hidden.scalar_type());
    return result.loss;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    const variable_list saved = context->get_saved_variables();
    const auto type = static_cast<at::ScalarType>(context->saved_data["hidden"].toInt());
    const at::Tensor factor = gradients[0].mul(saved[2]);  // 1 / N and the loss scale: half precision would round it
    const at::Tensor dHidden = saved[0].to(factor.scalar_type()).mul(factor).to(type);
    return {dHidden, saved[1].mul(factor).to(type), {}, {}, {}, {}};
  }
};

at::Tensor chunkedLoss(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets, int64_t ignored,
                       int64_t rows) {
  requireAlike("the head's weights", hidden, {weight});
  return ChunkedCrossEntropyFunction::apply(hidden, weight, targets, ignored, rows, anyRequiresGrad({hidden, weight}));
}

at::Tensor linearCrossEntropyLoss(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                  int64_t ignored) {
  if (!hasOwnKernel(hidden)) return chunkedLoss(hidden, weight, targets, ignored, rowsOfChunk(weight));
  requireAlike("the head's weights", hidden, {weight});
  return LinearCrossEntropyFunction::apply(hidden, weight, targets, ignored, anyRequiresGrad({hidden, weight}));
}

/** As matmul, mixed precision narrows the head. */
template <typename Cast>
at::Tensor autocastCrossEntropy(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                int64_t ignored) {
  const c10::impl::ExcludeDispatchKeyGuard below(Cast::key);
  return linearCrossEntropyLoss(Cast::narrowed(hidden), Cast::narrowed(weight), targets, ignored);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("linear_cross_entropy(Tensor hidden, Tensor weight, Tensor targets, int ignored=-100) -> Tensor",
              &linearCrossEntropyLoss);
  library.def(
      "linear_cross_entropy_chunked(Tensor hidden, Tensor weight, Tensor targets, int ignored, int rows) -> Tensor",
      &chunkedLoss);
}

TORCH_LIBRARY_IMPL(switchyard, AutocastCPU, library) {
  library.impl("linear_cross_entropy", &autocastCrossEntropy<AutocastCpu>);
}
TORCH_LIBRARY_IMPL(switchyard, AutocastCUDA, library) {
  library.impl("linear_cross_entropy", &autocastCrossEntropy<AutocastCuda>);
}

}  // namespace switchyard

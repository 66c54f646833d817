// The loss's operator on the device.

#include <ATen/ops/empty.h>

#include "../common/device_operators.h"
#include "cross_entropy_launch.h"

namespace switchyard::cuda {
namespace {

at::Tensor crossEntropy(at::Tensor logits, const at::Tensor& targets, int64_t ignored) {
  requireDimensions(logits, 2, "logits");
  const int64_t rows = logits.size(0), width = logits.size(1);
  require(targets, logits, {"targets", at::kLong, {rows}});
  const OnDevice device(logits);
  const at::Tensor wanted = targets.contiguous();
  at::Tensor losses = at::empty({rows}, optionsOf(logits, at::kFloat));
  beginWriting(logits, "logits");
  launchCrossEntropy({elementOf(logits, "logits"), logits.data_ptr(), wanted.data_ptr<int64_t>(),
                      losses.data_ptr<float>(), ignored, rows, width},
                     device.stream());
  return losses;
}

}  // namespace

SWITCHYARD_DEVICE_OPERATORS(library) {
  library.impl("cross_entropy_", &crossEntropy);
}

}  // namespace switchyard::cuda

#include "leaves.h"

#include <torch/library.h>

#include "../common/leaf.h"

namespace switchyard {
namespace leaf {

at::Tensor crossEntropy(const at::Tensor& logits, const at::Tensor& targets, int64_t ignored) {
  static const auto op = find<at::Tensor(at::Tensor, const at::Tensor&, int64_t)>("switchyard::cross_entropy_");
  return op.call(logits, targets, ignored);
}

}  // namespace leaf

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("cross_entropy_(Tensor(a!) logits, Tensor targets, int ignored=-100) -> Tensor");
}

}  // namespace switchyard

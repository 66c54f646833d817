#include "leaves.h"

#include <torch/library.h>

#include "../common/leaf.h"

namespace switchyard {
namespace leaf {

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, bool inverse) {
  static const auto op =
      find<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Tensor&, bool)>("switchyard::rotate_forward");
  return op.call(x, cos, sin, inverse);
}

}  // namespace leaf

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("rotate_forward(Tensor x, Tensor cos, Tensor sin, bool inverse) -> Tensor");
  library.def(
      "attention_decode(Tensor queries, Tensor keys, Tensor values, Tensor lengths, float scale, int window=0) -> Tensor");
}

}  // namespace switchyard

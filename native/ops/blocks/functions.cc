// Blocks as libtorch operators.

#include <torch/library.h>

#include "dequantize.h"

namespace switchyard {

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("dequantize(Tensor bytes, str type) -> Tensor", &dequantize);
  library.def("quantize(Tensor values, str type) -> Tensor", &quantize);
  library.def("dequantize_pairs(Tensor blocks, Tensor scales) -> Tensor", &dequantizePairs);
  library.def("dequantize_float8(Tensor bytes, Tensor scales) -> Tensor", &dequantizeFloat8);
}

}  // namespace switchyard

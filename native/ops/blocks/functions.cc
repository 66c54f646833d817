// Blocks as libtorch operators.

#include <torch/library.h>

#include "dequantize.h"
#include "types.h"

namespace switchyard {
namespace {

/** The table of types, so that its twin in TypeScript can be held to it. */
std::tuple<std::vector<std::string>, std::vector<int64_t>, std::vector<int64_t>, std::vector<std::string>> listTypes() {
  std::vector<std::string> names, written;
  std::vector<int64_t> values, bytes;
  for (const BlockType& type : blockTypes()) {
    names.push_back(type.name);
    values.push_back(type.values);
    bytes.push_back(type.bytes);
    if (type.encode != nullptr) written.push_back(type.name);
  }
  return {names, values, bytes, written};
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("block_types() -> (str[] names, int[] values, int[] bytes, str[] written)", &listTypes);
  library.def("dequantize(Tensor bytes, str type) -> Tensor", &dequantize);
  library.def("quantize(Tensor values, str type, Tensor? importance=None) -> Tensor", &quantize);
  library.def("dequantize_pairs(Tensor blocks, Tensor scales) -> Tensor", &dequantizePairs);
  library.def("dequantize_float8(Tensor bytes, Tensor scales) -> Tensor", &dequantizeFloat8);
}

}  // namespace switchyard

#include "types.h"

#include <c10/util/Exception.h>

namespace switchyard {

const std::vector<BlockType>& blockTypes() {
#define SWITCHYARD_BOTH(TYPE, VALUES, BYTES) {#TYPE, VALUES, BYTES, &decode##TYPE##Blocks, &encode##TYPE##Blocks},
#define SWITCHYARD_READ(TYPE, VALUES, BYTES) {#TYPE, VALUES, BYTES, &decode##TYPE##Blocks, nullptr},
  static const std::vector<BlockType> types{SWITCHYARD_BLOCK_TYPES(SWITCHYARD_BOTH, SWITCHYARD_READ)};
  return types;
}

const BlockType& blockTypeOf(const std::string& name) {
  for (const BlockType& type : blockTypes())
    if (name == type.name) return type;
  TORCH_CHECK(false, "there are no blocks of type '", name, "'");
}

}  // namespace switchyard

#include "row_type.h"

#include <c10/util/Half.h>

#include <map>

#include "../blocks/types.h"
#include "../common/elementwise.h"
#include "dots.h"

namespace switchyard {
namespace {

void decodeBf16(const uint8_t* blocks, float* values, int64_t count) {
  widenRow(reinterpret_cast<const c10::BFloat16*>(blocks), values, count);
}

void decodeF16(const uint8_t* blocks, float* values, int64_t count) {
  const auto* halves = reinterpret_cast<const uint16_t*>(blocks);
  for (int64_t i = 0; i < count; i++) values[i] = c10::detail::fp16_ieee_to_fp32_value(halves[i]);
}

std::map<std::string, RowType> allTypes() {
  std::map<std::string, RowType> types;
  for (const BlockType& type : blockTypes()) types[type.name] = {type.values, type.bytes, type.decode, nullptr, nullptr};
  types["Q8_0"].dot = dotQ8_0();
  types["Q4_0"].dot = dotQ4_0();
  types["BF16"] = {1, 2, &decodeBf16, nullptr, &dotBf16};
  types["F16"] = {1, 2, &decodeF16, nullptr, nullptr};
  return types;
}

}  // namespace

const RowType& rowTypeOf(const std::string& name) {
  static const std::map<std::string, RowType> types = allTypes();
  const auto found = types.find(name);
  TORCH_CHECK(found != types.end(), "there are no rows of type '", name, "'");
  return found->second;
}

}  // namespace switchyard

#include "row_type.h"

#include <c10/util/Half.h>

#include <cstring>
#include <map>

#include "../blocks/types.h"
#include "../common/elementwise.h"
#include "../common/simd.h"
#include "panel_products.h"

namespace switchyard {
namespace {

void decodeBf16(const uint8_t* blocks, float* values, int64_t count) {
  widenRow(reinterpret_cast<const c10::BFloat16*>(blocks), values, count);
}

void decodeF16(const uint8_t* blocks, float* values, int64_t count) {
  widenRow(reinterpret_cast<const c10::Half*>(blocks), values, count);
}

void copyF32(const uint8_t* blocks, float* values, int64_t count) { std::memcpy(values, blocks, count * sizeof(float)); }

/** A number of FP8 (E4M3), without a table so that loops vectorize: its bits as f32's are 2^-120 of it. */
SWITCHYARD_INLINE float float8Value(uint8_t byte) {
  const uint32_t size = byte & 127;
  const uint32_t bits = size == 127 ? 0x7fc00000u : static_cast<uint32_t>(byte & 128) << 24 | size << 20;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value * 0x1p120f;
}

SWITCHYARD_VECTORIZED
void decodeFloat8(const uint8_t* blocks, float* values, int64_t count) {
  for (int64_t b = 0; b < count; b++, blocks += 132, values += 128) {
    float scale;
    std::memcpy(&scale, blocks, sizeof scale);
    for (int64_t i = 0; i < 128; i++) values[i] = float8Value(blocks[4 + i]) * scale;
  }
}

std::map<std::string, RowType> allTypes() {
  std::map<std::string, RowType> types;
  for (const BlockType& type : blockTypes()) {
    const std::string name = type.name;
    const RowType rows = {type.values, type.bytes, type.decode, nullptr, nullptr};
    types[name] = rows;
    if (const PanelType* panels = panelTypeOf(name)) {
      types[name + "x16"] = rows;
      types[name + "x16"].panels = panels;
    }
  }
  types["BF16"] = {1, 2, &decodeBf16, &PanelProducts::bf16, nullptr};
  types["F32"] = {1, 4, &copyF32, &PanelProducts::f32, nullptr};
  types["F16"] = {1, 2, &decodeF16, &PanelProducts::f16, nullptr};
  types["F8_E4M3_B128"] = {128, 132, &decodeFloat8, nullptr, nullptr};
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

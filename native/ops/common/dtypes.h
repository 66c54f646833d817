// Our short dtype names and libtorch's scalar types.
#pragma once

#include <c10/core/ScalarType.h>

#include <string>
#include <utility>

namespace switchyard {

constexpr std::pair<const char*, c10::ScalarType> kDTypes[] = {
    {"f32", c10::ScalarType::Float}, {"f64", c10::ScalarType::Double},    {"f16", c10::ScalarType::Half},
    {"bf16", c10::ScalarType::BFloat16}, {"i8", c10::ScalarType::Char},   {"u8", c10::ScalarType::Byte},
    {"i16", c10::ScalarType::Short}, {"i32", c10::ScalarType::Int},       {"i64", c10::ScalarType::Long},
    {"bool", c10::ScalarType::Bool},
};

/** `f32` for Float; libtorch's own name for types without a short one. */
inline std::string dtypeName(c10::ScalarType type) {
  for (const auto& [name, known] : kDTypes) {
    if (known == type) return name;
  }
  return c10::toString(type);
}

inline bool parseDType(const std::string& name, c10::ScalarType* type) {
  for (const auto& [known, value] : kDTypes) {
    if (name == known) {
      *type = value;
      return true;
    }
  }
  return false;
}

}  // namespace switchyard

// Numbers in half precision within encoded bytes.
#pragma once

#include <c10/util/Half.h>

#include <cstring>

#include "../common/simd.h"

namespace switchyard {

/** The f16 number at any address. */
SWITCHYARD_INLINE float halfAt(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return c10::detail::fp16_ieee_to_fp32_value(bits);
}

}  // namespace switchyard

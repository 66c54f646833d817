// How a row of a weight matrix is encoded: in a file's blocks, in half precision, or in panels of 16 rows. And what can be
// computed with one without decoding it.
#pragma once

#include <cstdint>
#include <string>

#include "panels.h"

namespace switchyard {

struct RowType {
  int64_t values;  // of a block
  int64_t bytes;
  void (*decode)(const uint8_t* blocks, float* values, int64_t count);
  /** Products with rows as they are; null: they are decoded first, to the same result. */
  RowProduct PanelProducts::*product;
  /** Where rows are interleaved; null where they follow each other. */
  const PanelType* panels;
};

/** A GGUF type, BF16, F16, F32, a Packing's, or a GGUF type in panels, as Q8_0x16. Throws c10::Error for a name that is none. */
const RowType& rowTypeOf(const std::string& name);

}  // namespace switchyard

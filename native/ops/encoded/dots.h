// Products of encoded rows with rows of activations: the inner loops of decoding, in the best form that the processor has.
#pragma once

#include "row_type.h"

namespace switchyard {

using Dot = float (*)(const uint8_t* row, const QuantizedRow& x, int64_t blocks);

Dot dotQ8_0();
Dot dotQ4_0();

/** `count` numbers of bf16 times as many of f32. */
float dotBf16(const uint8_t* row, const float* x, int64_t count);

}  // namespace switchyard

// The forms of panel products, one per set of instructions.
#pragma once

#include "panels.h"

// clang has no such pragma for instructions, and older compilers have not all of them.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#define SWITCHYARD_HAS_X86_PANELS
#endif

namespace switchyard {

struct PanelProducts {
  PanelProduct q8_0;
  PanelProduct q4_0;
  PanelProduct q4_k;
  PanelProduct q6_k;
  PanelProduct mxfp4;
  RowProduct f32;
  RowProduct bf16;
  RowProduct f16;
};

/** What four bits of MXFP4 stand for, doubled, plus 12. */
constexpr uint8_t kE2m1[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

const PanelProducts& portableProducts();
const PanelProducts& avx2Products();
const PanelProducts& avxVnniProducts();
const PanelProducts& avx512VnniProducts();
const PanelProducts& amxProducts();

/** Whether the processor has AMX for bytes, and the kernel lets this process use it. */
bool hasAmx();

}  // namespace switchyard

// Where tensors' bytes come from: a counting CPU allocator and memory-mapped files.
#pragma once

#include <napi.h>

namespace switchyard {

/** Puts the counting allocator under libtorch and keeps large blocks in the process. Safe to call again. */
void installAllocator();

void exportMemory(Napi::Env env, Napi::Object exports);

}  // namespace switchyard

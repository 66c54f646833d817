// Memory-mapped files as tensors, and what memory is used.
#pragma once

#include <napi.h>

namespace switchyard {

void exportMemory(Napi::Env env, Napi::Object exports);

}  // namespace switchyard

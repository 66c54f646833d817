// Gradients and the thread-local modes around them.
#pragma once

#include <napi.h>

namespace switchyard {

void exportAutograd(Napi::Env env, Napi::Object exports);

}  // namespace switchyard

// What JavaScript asks of a tensor beside operators: its description, its bytes, its lifetime.
#pragma once

#include <napi.h>

namespace switchyard {

void exportTensors(Napi::Env env, Napi::Object exports);

}  // namespace switchyard

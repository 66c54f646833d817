#pragma once

#include <napi.h>

namespace switchyard {

void exportProfile(Napi::Env env, Napi::Object exports);

}  // namespace switchyard

// What JavaScript asks of a tensor beside operators: its description, its bytes, its lifetime.
#pragma once

#include <ATen/core/Tensor.h>
#include <napi.h>

namespace switchyard {

/** A tensor as JavaScript knows it. */
Napi::Value newHandle(Napi::Env env, at::Tensor tensor);

void exportTensors(Napi::Env env, Napi::Object exports);

}  // namespace switchyard

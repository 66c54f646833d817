// The one door to libtorch's operators.
#pragma once

#include <napi.h>

namespace switchyard {

/** call(operatorId, ...arguments): the hot path, raw N-API. */
napi_value callOperator(napi_env env, napi_callback_info info);

/** resolve(name, overload) -> operatorId */
Napi::Value resolveOperator(const Napi::CallbackInfo& info);

/** schema(operatorId) -> { name, text, returnsSelf, parameters, returns } */
Napi::Value operatorSchema(const Napi::CallbackInfo& info);

/** operatorNames() -> every operator of this libtorch */
Napi::Value operatorNames(const Napi::CallbackInfo& info);

}  // namespace switchyard

// JavaScript values to and from libtorch's boxed values, guided by the operator's schema.
#pragma once

#include <napi.h>

#include <string>

#include "instance.h"

namespace switchyard {

/** Converts one argument. `undefined` takes the schema's default, `null` is None. Throws ArgumentError. */
c10::IValue toIValue(napi_env env, napi_value value, const Parameter& parameter, Instance& instance);

/** The value of a parameter that was not passed. Throws ArgumentError when there is no default. */
const c10::IValue& defaultOf(const Parameter& parameter);

/** Converts one result; tensors become handles, an undefined tensor becomes null. */
napi_value fromIValue(napi_env env, const c10::IValue& value, Instance& instance);

/** `f32[2, 3]` for a tensor, else the JavaScript value in short: what error messages show. */
std::string describeArgument(napi_env env, napi_value value, const Parameter& parameter, Instance& instance);

c10::ScalarType toScalarType(napi_env env, napi_value value);
std::vector<int64_t> toSizes(napi_env env, napi_value value);
std::string toText(napi_env env, napi_value value);

}  // namespace switchyard

// One way out of native code: whatever is thrown becomes a JavaScript error made by the TypeScript side.
#pragma once

#include <c10/util/Exception.h>
#include <napi.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "handles.h"

namespace switchyard {

/** A wrong argument from JavaScript: arity, type or value. */
struct ArgumentError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/** A failing system call or file. */
struct FileError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/** Throws in `env` for the C++ exception being handled; `operatorName` and `arguments` say what was called. */
void throwToJs(napi_env env, const std::string& operatorName, const std::vector<std::string>& arguments);

/**
 * Keeps libtorch from walking and naming the whole C++ stack for each error it throws: 5 ms each, and the message that
 * users see leaves it out.
 */
void skipBacktraces();

/** Wraps a cold function of the module: C++ exceptions become JavaScript ones. */
template <Napi::Value (*Function)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return Function(info);
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    throwToJs(info.Env(), "", {});
    return {};
  }
}

}  // namespace switchyard

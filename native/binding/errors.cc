#include "errors.h"

#include <c10/util/Logging.h>

#include "instance.h"

namespace switchyard {
namespace {

struct Failure {
  const char* kind;  // names the TypeScript error: torch, argument, disposed, memory, file
  std::string message;
};

Failure describeCurrentException() {
  try {
    throw;
  } catch (const DisposedTensor&) {
    return {"disposed", "tensor was disposed"};
  } catch (const ArgumentError& error) {
    return {"argument", error.what()};
  } catch (const FileError& error) {
    return {"file", error.what()};
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    const bool memory = message.find("t allocate memory") != std::string::npos ||
                        message.find("out of memory") != std::string::npos;
    return {memory ? "memory" : "torch", message};
  } catch (const std::bad_alloc&) {
    return {"memory", "out of memory"};
  } catch (const std::exception& error) {
    return {"torch", error.what()};
  } catch (...) {
    return {"torch", "unknown native error"};
  }
}

/** Whether the exception being handled is JavaScript's own, thrown by a function that libtorch called; it goes on as it is. */
bool rethrowOwn() {
  try {
    throw;
  } catch (const Napi::Error& error) {
    error.ThrowAsJavaScriptException();
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

void throwToJs(napi_env env, const std::string& operatorName, const std::vector<std::string>& arguments) {
  if (rethrowOwn()) return;
  const Failure failure = describeCurrentException();
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) return;
  const Napi::FunctionReference& make = Instance::of(env).makeError;
  if (make.IsEmpty()) {
    napi_throw_error(env, nullptr, failure.message.c_str());
    return;
  }
  try {
    Napi::Array list = Napi::Array::New(env, arguments.size());
    for (uint32_t i = 0; i < arguments.size(); i++) list.Set(i, arguments[i]);
    const Napi::Value error =
        make.Call({Napi::String::New(env, failure.kind), Napi::String::New(env, failure.message),
                   Napi::String::New(env, operatorName), list});
    napi_throw(env, error);
  } catch (const Napi::Error& error) {  // no stack left to make an error on, or the environment is ending
    error.ThrowAsJavaScriptException();
  }
}

void skipBacktraces() {
  c10::SetStackTraceFetcher([] { return std::string(); });
}

}  // namespace switchyard

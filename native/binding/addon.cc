// Module entry: what JavaScript sees of libtorch.
#include <napi.h>

#include "allocator.h"
#include "autograd.h"
#include "call.h"
#include "cuda_runtime.h"
#include "errors.h"
#include "instance.h"
#include "memory.h"
#include "profile.h"
#include "recompute.h"
#include "runtime.h"
#include "tape.h"
#include "tensors.h"

namespace switchyard {
namespace {

/** setErrorFactory(makeError): how TypeScript wants native failures dressed. */
Napi::Value setErrorFactory(const Napi::CallbackInfo& info) {
  Instance::of(info.Env()).makeError = Napi::Persistent(info[0].As<Napi::Function>());
  return info.Env().Undefined();
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  skipBacktraces();
  installAllocator();
  loadCuda();
  runBackwardHere();
  auto* instance = new Instance();
  env.SetInstanceData<Instance>(instance);
  napi_value call;
  napi_create_function(env, "call", NAPI_AUTO_LENGTH, callOperator, instance, &call);
  exports.Set("call", Napi::Value(env, call));
  exports.Set("resolve", Napi::Function::New(env, guarded<resolveOperator>, "resolve"));
  exports.Set("schema", Napi::Function::New(env, guarded<operatorSchema>, "schema"));
  exports.Set("operatorNames", Napi::Function::New(env, guarded<operatorNames>, "operatorNames"));
  exports.Set("setErrorFactory", Napi::Function::New(env, guarded<setErrorFactory>, "setErrorFactory"));
  exportTensors(env, exports);
  exportAutograd(env, exports);
  exportMemory(env, exports);
  exportProfile(env, exports);
  exportRecompute(env, exports);
  exportRuntime(env, exports);
  exportTape(env, exports);
  exportCuda(env, exports);
  return exports;
}

}  // namespace
}  // namespace switchyard

Napi::Object initializeSwitchyard(Napi::Env env, Napi::Object exports) {
  return switchyard::initialize(env, exports);
}

NODE_API_MODULE(switchyard, initializeSwitchyard)

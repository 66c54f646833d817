#include "autograd.h"

#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include "errors.h"
#include "instance.h"

namespace switchyard {
namespace {

const at::Tensor& tensorArgument(const Napi::CallbackInfo& info, size_t index) {
  return Instance::of(info.Env()).handles.get(info[index].As<Napi::Number>().DoubleValue());
}

/** grad(handle) -> handle or null */
Napi::Value grad(const Napi::CallbackInfo& info) {
  const at::Tensor& gradient = tensorArgument(info, 0).grad();
  if (!gradient.defined()) return info.Env().Null();
  return Napi::Number::New(info.Env(), Instance::of(info.Env()).handles.add(gradient));
}

/** setGrad(handle, handle or null) */
Napi::Value setGrad(const Napi::CallbackInfo& info) {
  tensorArgument(info, 0).mutable_grad() = info[1].IsNull() ? at::Tensor() : tensorArgument(info, 1);
  return info.Env().Undefined();
}

Napi::Value requiresGrad(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), tensorArgument(info, 0).requires_grad());
}

Napi::Value isLeaf(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), tensorArgument(info, 0).is_leaf());
}

/** setGradMode(enabled) -> what it was */
Napi::Value setGradMode(const Napi::CallbackInfo& info) {
  const bool before = c10::GradMode::is_enabled();
  c10::GradMode::set_enabled(info[0].ToBoolean());
  return Napi::Boolean::New(info.Env(), before);
}

/** inferenceMode(callback): runs the callback in libtorch's inference mode. */
Napi::Value inferenceMode(const Napi::CallbackInfo& info) {
  const c10::InferenceMode guard(true);
  return info[0].As<Napi::Function>().Call({});
}

}  // namespace

void exportAutograd(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("grad", guarded<grad>);
  add("setGrad", guarded<setGrad>);
  add("requiresGrad", guarded<requiresGrad>);
  add("isLeaf", guarded<isLeaf>);
  add("setGradMode", guarded<setGradMode>);
  add("inferenceMode", guarded<inferenceMode>);
}

}  // namespace switchyard

#include "autograd.h"

#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include "errors.h"
#include "instance.h"
#include "values.h"
#include "version.h"

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

/** setAutocast(deviceType, enabled, dtype) -> whether it was enabled */
Napi::Value setAutocast(const Napi::CallbackInfo& info) {
  const c10::DeviceType device = c10::Device(info[0].As<Napi::String>().Utf8Value()).type();
  const bool enabled = info[1].ToBoolean();
  const c10::ScalarType dtype = toScalarType(info.Env(), info[2]);
#if SWITCHYARD_TORCH_AT_LEAST(2, 4)
  const bool before = at::autocast::is_autocast_enabled(device);
  at::autocast::set_autocast_dtype(device, dtype);
  at::autocast::set_autocast_enabled(device, enabled);
#else
  const bool cpu = device == c10::DeviceType::CPU;
  const bool before = cpu ? at::autocast::is_cpu_enabled() : at::autocast::is_enabled();
  cpu ? at::autocast::set_autocast_cpu_dtype(dtype) : at::autocast::set_autocast_gpu_dtype(dtype);
  cpu ? at::autocast::set_cpu_enabled(enabled) : at::autocast::set_enabled(enabled);
#endif
  if (!enabled) at::autocast::clear_cache();  // narrowed copies of weights that are about to change
  return Napi::Boolean::New(info.Env(), before);
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
  add("setAutocast", guarded<setAutocast>);
}

}  // namespace switchyard

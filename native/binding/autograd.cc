#include "autograd.h"

#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include "../ops/common/dtypes.h"
#include "../ops/common/version.h"
#include "errors.h"
#include "instance.h"
#include "values.h"

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
  const at::Tensor& tensor = tensorArgument(info, 0);
  const at::Tensor gradient = info[1].IsNull() ? at::Tensor() : tensorArgument(info, 1);
  if (gradient.defined() && (gradient.sizes() != tensor.sizes() || gradient.scalar_type() != tensor.scalar_type() ||
                             gradient.device() != tensor.device())) {
    throw ArgumentError("a gradient of " + describe(tensor) + " cannot be " + describe(gradient));
  }
  tensor.mutable_grad() = gradient;
  return info.Env().Undefined();
}

/** gradOf(output, inputs, weight or null, retainGraph, createGraph) -> handle or null per input */
Napi::Value gradOf(const Napi::CallbackInfo& info) {
  Instance& instance = Instance::of(info.Env());
  const Napi::Array handles = info[1].As<Napi::Array>();
  torch::autograd::variable_list inputs, weights;
  for (uint32_t i = 0; i < handles.Length(); i++) {
    inputs.push_back(instance.handles.get(handles.Get(i).As<Napi::Number>().DoubleValue()));
  }
  if (!info[2].IsNull()) weights.push_back(tensorArgument(info, 2));
  const bool retain = info[3].ToBoolean(), create = info[4].ToBoolean();
  const auto gradients = torch::autograd::grad({tensorArgument(info, 0)}, inputs, weights, retain, create, true);
  Napi::Array result = Napi::Array::New(info.Env(), gradients.size());
  for (uint32_t i = 0; i < gradients.size(); i++) {
    const at::Tensor& gradient = gradients[i];
    result.Set(i, gradient.defined() ? Napi::Value(Napi::Number::New(info.Env(), instance.handles.add(gradient)))
                                     : info.Env().Null());
  }
  return result;
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

c10::DeviceType deviceArgument(const Napi::CallbackInfo& info) {
  return c10::Device(info[0].As<Napi::String>().Utf8Value()).type();
}

/** autocast(deviceType) -> the dtype it computes in, or null when it is off */
Napi::Value autocast(const Napi::CallbackInfo& info) {
  const c10::DeviceType device = deviceArgument(info);
#if SWITCHYARD_TORCH_AT_LEAST(2, 4)
  const bool enabled = at::autocast::is_autocast_enabled(device);
  const c10::ScalarType dtype = at::autocast::get_autocast_dtype(device);
#else
  const bool cpu = device == c10::DeviceType::CPU;
  const bool enabled = cpu ? at::autocast::is_cpu_enabled() : at::autocast::is_enabled();
  const c10::ScalarType dtype = cpu ? at::autocast::get_autocast_cpu_dtype() : at::autocast::get_autocast_gpu_dtype();
#endif
  if (!enabled) return info.Env().Null();
  return Napi::String::New(info.Env(), dtypeName(dtype));
}

/** setAutocast(deviceType, dtype or null) */
Napi::Value setAutocast(const Napi::CallbackInfo& info) {
  const c10::DeviceType device = deviceArgument(info);
  const bool enabled = !info[1].IsNull();
#if SWITCHYARD_TORCH_AT_LEAST(2, 4)
  if (enabled) at::autocast::set_autocast_dtype(device, toScalarType(info.Env(), info[1]));
  at::autocast::set_autocast_enabled(device, enabled);
#else
  const bool cpu = device == c10::DeviceType::CPU;
  if (enabled) {
    const c10::ScalarType dtype = toScalarType(info.Env(), info[1]);
    cpu ? at::autocast::set_autocast_cpu_dtype(dtype) : at::autocast::set_autocast_gpu_dtype(dtype);
  }
  cpu ? at::autocast::set_cpu_enabled(enabled) : at::autocast::set_enabled(enabled);
#endif
  return info.Env().Undefined();
}

/** clearAutocastCache(): drops narrowed copies of weights, which are about to change. */
Napi::Value clearAutocastCache(const Napi::CallbackInfo& info) {
  at::autocast::clear_cache();
  return info.Env().Undefined();
}

}  // namespace

void exportAutograd(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("grad", guarded<grad>);
  add("gradOf", guarded<gradOf>);
  add("setGrad", guarded<setGrad>);
  add("requiresGrad", guarded<requiresGrad>);
  add("isLeaf", guarded<isLeaf>);
  add("setGradMode", guarded<setGradMode>);
  add("inferenceMode", guarded<inferenceMode>);
  add("autocast", guarded<autocast>);
  add("setAutocast", guarded<setAutocast>);
  add("clearAutocastCache", guarded<clearAutocastCache>);
}

}  // namespace switchyard

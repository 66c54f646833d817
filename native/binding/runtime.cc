#include "runtime.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <mutex>
#include <string>

#include "errors.h"
#include "instance.h"

namespace switchyard {
namespace {

template <typename Function>
Function* findSymbol(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

/** info() -> { version, cuda, blas, threads, blasThreads } */
Napi::Value runtimeInfo(const Napi::CallbackInfo& info) {
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("version", TORCH_VERSION);
  result.Set("cuda", at::hasCUDA());
  auto* openblasConfig = findSymbol<char*()>("openblas_get_config");
  auto* openblasThreads = findSymbol<int()>("openblas_get_num_threads");
  const bool mkl = at::hasMKL();
  result.Set("blas", openblasConfig != nullptr ? std::string(openblasConfig()) : mkl ? "MKL" : "reference");
  result.Set("threads", at::get_num_threads());
  result.Set("blasThreads", openblasThreads != nullptr ? openblasThreads() : at::get_num_threads());
  return result;
}

/** setThreads(operators, blas) */
Napi::Value setThreads(const Napi::CallbackInfo& info) {
  const int operators = info[0].As<Napi::Number>().Int32Value();
  const int blas = info[1].As<Napi::Number>().Int32Value();
  at::set_num_threads(operators);
  if (auto* set = findSymbol<void(int)>("openblas_set_num_threads")) set(blas);
  return info.Env().Undefined();
}

/** setDefaultThreads(count): for the first thread of the process that asks; a later worker changes nothing. */
Napi::Value setDefaultThreads(const Napi::CallbackInfo& info) {
  static const bool first = [&] {
    setThreads(info);
    return true;
  }();
  (void)first;
  return info.Env().Undefined();
}

/** loadOperators(path): a shared library whose operators register themselves; it stays loaded. */
Napi::Value loadOperators(const Napi::CallbackInfo& info) {
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) throw FileError(dlerror());
  return info.Env().Undefined();
}

at::Generator defaultGenerator(const std::string& device) {
  return at::globalContext().defaultGenerator(c10::Device(device));
}

/** A generator of its own. A clone() of libtorch 1.13 is never freed, so that it serves only where nothing else does. */
at::Generator freshGenerator(const c10::Device& device) {
  return device.is_cpu() ? at::detail::createCPUGenerator() : defaultGenerator(device.str()).clone();
}

/** generator(seed or null, device) -> index; null shares libtorch's default generator of the device. */
Napi::Value generator(const Napi::CallbackInfo& info) {
  Instance& instance = Instance::of(info.Env());
  const c10::Device device(info[1].As<Napi::String>().Utf8Value());
  at::Generator made = info[0].IsNull() ? defaultGenerator(device.str()) : freshGenerator(device);
  if (!info[0].IsNull()) made.set_current_seed(static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()));
  instance.generators.emplace(instance.nextGenerator, std::move(made));
  return Napi::Number::New(info.Env(), instance.nextGenerator++);
}

Napi::Value releaseGenerator(const Napi::CallbackInfo& info) {
  Instance::of(info.Env()).generators.erase(info[0].As<Napi::Number>().Uint32Value());
  return info.Env().Undefined();
}

at::Generator& generatorArgument(const Napi::CallbackInfo& info) {
  auto& generators = Instance::of(info.Env()).generators;
  const auto found = generators.find(info[0].As<Napi::Number>().Uint32Value());
  if (found == generators.end()) throw ArgumentError("the generator was disposed");
  return found->second;
}

/** seedGenerator(index, seed) */
Napi::Value seedGenerator(const Napi::CallbackInfo& info) {
  at::Generator& target = generatorArgument(info);
  const std::lock_guard<std::mutex> lock(target.mutex());
  target.set_current_seed(static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value()));
  return info.Env().Undefined();
}

/** generatorState(index) -> handle of u8 bytes */
Napi::Value generatorState(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), Instance::of(info.Env()).handles.add(generatorArgument(info).get_state()));
}

/** setGeneratorState(index, handle) */
Napi::Value setGeneratorState(const Napi::CallbackInfo& info) {
  const at::Tensor& state = Instance::of(info.Env()).handles.get(info[1].As<Napi::Number>().DoubleValue());
  generatorArgument(info).set_state(state);
  return info.Env().Undefined();
}

}  // namespace

void loadCuda() {
  Dl_info library;
  if (dladdr(reinterpret_cast<void*>(&at::globalContext), &library) == 0) return;
  const std::string path = library.dli_fname;
  const std::string beside = path.substr(0, path.find_last_of('/') + 1) + "libtorch_cuda.so";
  dlopen(beside.c_str(), RTLD_NOW | RTLD_GLOBAL);  // absent on a CPU build, which is fine
}

void exportRuntime(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("info", guarded<runtimeInfo>);
  add("setThreads", guarded<setThreads>);
  add("setDefaultThreads", guarded<setDefaultThreads>);
  add("loadOperators", guarded<loadOperators>);
  add("generator", guarded<generator>);
  add("releaseGenerator", guarded<releaseGenerator>);
  add("seedGenerator", guarded<seedGenerator>);
  add("generatorState", guarded<generatorState>);
  add("setGeneratorState", guarded<setGeneratorState>);
}

}  // namespace switchyard

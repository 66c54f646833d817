#include "cuda_runtime.h"

#ifndef SWITCHYARD_CUDA

namespace switchyard {

void exportCuda(Napi::Env, Napi::Object) {}

}  // namespace switchyard

#else

#include <cuda_runtime_api.h> // first: not all of libtorch's headers that need it include it

#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "cuda_event.h"
#include "errors.h"
#include "instance.h"
#include "values.h"

namespace switchyard {
namespace {

namespace allocator = c10::cuda::CUDACachingAllocator;
using c10::cuda::CUDAStream;

Napi::Value number(const Napi::CallbackInfo& info, double value) { return Napi::Number::New(info.Env(), value); }

/** A device that libtorch knows: its allocator refuses all questions until something was made on CUDA. */
c10::DeviceIndex deviceArgument(const Napi::CallbackInfo& info, size_t index = 0) {
  at::empty({0}, at::TensorOptions(at::kCUDA));
  return static_cast<c10::DeviceIndex>(info[index].As<Napi::Number>().Int32Value());
}

/** A C++ object that JavaScript holds; it is deleted when that is collected. */
template <typename T>
Napi::Value hold(const Napi::CallbackInfo& info, T* object) {
  return Napi::External<T>::New(info.Env(), object, [](Napi::Env, T* held) { delete held; });
}

template <typename T>
T& held(const Napi::CallbackInfo& info, size_t index) {
  return *info[index].As<Napi::External<T>>().Data();
}

/** The stream given, or the current one where null is. */
CUDAStream streamArgument(const Napi::CallbackInfo& info, size_t index) {
  return info[index].IsNull() ? c10::cuda::getCurrentCUDAStream() : held<CUDAStream>(info, index);
}

/** properties(device) -> { name, memory, multiprocessors, capability } */
Napi::Value properties(const Napi::CallbackInfo& info) {
  cudaDeviceProp device;
  C10_CUDA_CHECK(cudaGetDeviceProperties(&device, deviceArgument(info)));
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("name", std::string(device.name));
  result.Set("memory", static_cast<double>(device.totalGlobalMem));
  result.Set("multiprocessors", device.multiProcessorCount);
  result.Set("capability", std::to_string(device.major) + "." + std::to_string(device.minor));
  return result;
}

/** memory(device) -> { allocated, peak, reserved, free, total } in bytes */
Napi::Value memory(const Napi::CallbackInfo& info) {
  const c10::DeviceIndex device = deviceArgument(info);
  const c10::cuda::CUDAGuard guard(device);
  size_t free = 0, total = 0;
  C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  const auto stats = allocator::getDeviceStats(device);
  const auto& allocated = stats.allocated_bytes[0];  // 0: small and large blocks together
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("allocated", static_cast<double>(allocated.current));
  result.Set("peak", static_cast<double>(allocated.peak));
  result.Set("reserved", static_cast<double>(stats.reserved_bytes[0].current));
  result.Set("free", static_cast<double>(free));
  result.Set("total", static_cast<double>(total));
  return result;
}

Napi::Value resetPeak(const Napi::CallbackInfo& info) {
  allocator::resetPeakStats(deviceArgument(info));
  return info.Env().Undefined();
}

Napi::Value emptyCache(const Napi::CallbackInfo& info) {
  allocator::emptyCache();
  return info.Env().Undefined();
}

/** limitMemory(fraction, device): the allocator refuses to take more of the card. */
Napi::Value limitMemory(const Napi::CallbackInfo& info) {
  allocator::setMemoryFraction(info[0].As<Napi::Number>().DoubleValue(), deviceArgument(info, 1));
  return info.Env().Undefined();
}

Napi::Value synchronize(const Napi::CallbackInfo& info) {
  const c10::cuda::CUDAGuard guard(deviceArgument(info));
  c10::cuda::device_synchronize();
  return info.Env().Undefined();
}

// --- streams and events -----------------------------------------------------------------------------------------

/** stream(device) -> a stream beside the default one */
Napi::Value stream(const Napi::CallbackInfo& info) {
  return hold(info, new CUDAStream(c10::cuda::getStreamFromPool(false, deviceArgument(info))));
}

/** onStream(stream, callback): what the callback starts goes to the stream. */
Napi::Value onStream(const Napi::CallbackInfo& info) {
  const c10::cuda::CUDAStreamGuard guard(held<CUDAStream>(info, 0));
  return info[1].As<Napi::Function>().Call({});
}

/** record(stream or null, timed) -> an event behind what was started there so far */
Napi::Value record(const Napi::CallbackInfo& info) {
  auto event = std::make_unique<CudaEvent>(info[1].ToBoolean());
  event->record(streamArgument(info, 0));
  return hold(info, event.release());
}

/** block(event, stream or null): what is started on the stream from now on waits for the event; the host does not. */
Napi::Value block(const Napi::CallbackInfo& info) {
  held<CudaEvent>(info, 0).block(streamArgument(info, 1));
  return info.Env().Undefined();
}

Napi::Value isDone(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), held<CudaEvent>(info, 0).isDone());
}

Napi::Value waitFor(const Napi::CallbackInfo& info) {
  held<CudaEvent>(info, 0).wait();
  return info.Env().Undefined();
}

/** elapsed(first, second) -> milliseconds between two timed events */
Napi::Value elapsed(const Napi::CallbackInfo& info) {
  return number(info, held<CudaEvent>(info, 1).millisecondsSince(held<CudaEvent>(info, 0)));
}

/** usedOn(handle, stream): the tensor's memory is given to others only when the stream has done with it. */
Napi::Value usedOn(const Napi::CallbackInfo& info) {
  const at::Tensor& tensor = Instance::of(info.Env()).handles.get(info[0].As<Napi::Number>().DoubleValue());
  allocator::recordStream(tensor.storage().data_ptr(), streamArgument(info, 1));
  return info.Env().Undefined();
}

// --- graphs -------------------------------------------------------------------------------------------------------

Napi::Value graph(const Napi::CallbackInfo& info) { return hold(info, new at::cuda::CUDAGraph()); }

/** capture(graph, callback): records what the callback starts; on a side stream, as CUDA asks for. */
Napi::Value capture(const Napi::CallbackInfo& info) {
  auto& recorded = held<at::cuda::CUDAGraph>(info, 0);
  // Another thread, a worker that serves say, may go on using the device.
  recorded.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
  try {
    info[1].As<Napi::Function>().Call({});
  } catch (...) {
    try {
      recorded.capture_end();
    } catch (const std::exception&) {  // the capture is broken: what broke it is the news
    }
    throw;
  }
  recorded.capture_end();
  return info.Env().Undefined();
}

/** refuseWaits(callback): what waits for the device in it throws "called a synchronizing CUDA operation". For all threads. */
Napi::Value refuseWaits(const Napi::CallbackInfo& info) {
  struct Mode {
    using Kind = c10::cuda::SyncDebugMode;
    const Kind before = c10::cuda::warning_state().get_sync_debug_mode();
    Mode() { c10::cuda::warning_state().set_sync_debug_mode(Kind::L_ERROR); }
    ~Mode() { c10::cuda::warning_state().set_sync_debug_mode(before); }
  } mode;
  return info[0].As<Napi::Function>().Call({});
}

Napi::Value replay(const Napi::CallbackInfo& info) {
  held<at::cuda::CUDAGraph>(info, 0).replay();
  return info.Env().Undefined();
}

/** resetGraph(graph): gives its memory back; it cannot be replayed any more. */
Napi::Value resetGraph(const Napi::CallbackInfo& info) {
  held<at::cuda::CUDAGraph>(info, 0).reset();
  return info.Env().Undefined();
}

/** pinned(sizes, dtype) -> handle of page-locked memory on the host */
Napi::Value pinned(const Napi::CallbackInfo& info) {
  const auto options = at::TensorOptions(toScalarType(info.Env(), info[1])).pinned_memory(true);
  return number(info, Instance::of(info.Env()).handles.add(at::empty(toSizes(info.Env(), info[0]), options)));
}

}  // namespace

void exportCuda(Napi::Env env, Napi::Object exports) {
  Napi::Object cuda = Napi::Object::New(env);
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    cuda.Set(name, Napi::Function::New(env, function, name));
  };
  add("properties", guarded<properties>);
  add("memory", guarded<memory>);
  add("resetPeak", guarded<resetPeak>);
  add("emptyCache", guarded<emptyCache>);
  add("limitMemory", guarded<limitMemory>);
  add("synchronize", guarded<synchronize>);
  add("stream", guarded<stream>);
  add("onStream", guarded<onStream>);
  add("record", guarded<record>);
  add("block", guarded<block>);
  add("isDone", guarded<isDone>);
  add("waitFor", guarded<waitFor>);
  add("elapsed", guarded<elapsed>);
  add("usedOn", guarded<usedOn>);
  add("graph", guarded<graph>);
  add("capture", guarded<capture>);
  add("refuseWaits", guarded<refuseWaits>);
  add("replay", guarded<replay>);
  add("resetGraph", guarded<resetGraph>);
  add("pinned", guarded<pinned>);
  exports.Set("cuda", cuda);
}

}  // namespace switchyard

#endif

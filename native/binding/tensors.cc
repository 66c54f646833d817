#include "tensors.h"

#include <ATen/autocast_mode.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/item.h>

#include <cstring>

#include "../ops/common/dtypes.h"
#include "../ops/common/version.h"
#include "errors.h"
#include "instance.h"
#include "tape.h"
#include "values.h"

namespace switchyard {
namespace {

const at::Tensor& tensorArgument(const Napi::CallbackInfo& info, size_t index) {
  double handle = -1;
  if (napi_get_value_double(info.Env(), info[index], &handle) != napi_ok) throw ArgumentError("must be a Tensor");
  return Instance::of(info.Env()).handles.get(handle);
}

/** Numbers that pass between the host and tensors would be those of the recording for ever. */
void refuseOnTape(const Napi::CallbackInfo& info, const char* why) {
  if (Tape* tape = Instance::of(info.Env()).tape) tape->refuse(why);
}

Napi::Value toJsArray(Napi::Env env, at::IntArrayRef values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); i++) array.Set(i, Napi::Number::New(env, static_cast<double>(values[i])));
  return array;
}

struct Bytes {
  Napi::ArrayBuffer buffer;
  char* data;
  size_t length;
};

Bytes bytesOf(const Napi::Value& value) {
  if (!value.IsTypedArray()) throw ArgumentError("data must be a typed array");
  const auto array = value.As<Napi::TypedArray>();
  const Napi::ArrayBuffer buffer = array.ArrayBuffer();
  return {buffer, static_cast<char*>(const_cast<Napi::ArrayBuffer&>(buffer).Data()) + array.ByteOffset(),
          array.ByteLength()};
}

/** Bytes that `sizes` x `type` take. Throws when a size is negative or the product overflows. */
size_t byteCount(const std::vector<int64_t>& sizes, c10::ScalarType type) {
  size_t total = c10::elementSize(type);
  for (int64_t size : sizes) {
    if (size < 0 || __builtin_mul_overflow(total, static_cast<size_t>(size), &total)) {
      throw ArgumentError("shape has a negative or too large size");
    }
  }
  return total;
}

/** A tensor on the bytes of an ArrayBuffer, which stays referenced until the storage dies. */
at::Tensor shareBuffer(Napi::Env env, const Bytes& bytes, const std::vector<int64_t>& sizes, c10::ScalarType type) {
  napi_ref reference;
  napi_create_reference(env, bytes.buffer, 1, &reference);
  auto releases = Instance::of(env).buffers;
  return at::from_blob(
      bytes.data, sizes, [releases, reference](void*) { releases->push(reference); }, at::TensorOptions(type));
}

/** fromBytes(typedArray, sizes, dtype, share) -> handle */
Napi::Value fromBytes(const Napi::CallbackInfo& info) {
  refuseOnTape(info, "numbers come from the host");
  const Bytes bytes = bytesOf(info[0]);
  const std::vector<int64_t> sizes = toSizes(info.Env(), info[1]);
  const c10::ScalarType type = toScalarType(info.Env(), info[2]);
  const size_t needed = byteCount(sizes, type);
  if (needed != bytes.length) {
    throw ArgumentError("shape needs " + std::to_string(needed) + " bytes, the array has " +
                        std::to_string(bytes.length));
  }
  const bool share = info[3].ToBoolean() && needed > 0;
  if (share) return newHandle(info.Env(), shareBuffer(info.Env(), bytes, sizes, type));
  at::Tensor tensor = at::empty(sizes, at::TensorOptions(type));
  if (needed > 0) std::memcpy(tensor.data_ptr(), bytes.data, needed);
  return newHandle(info.Env(), tensor);
}

/** copyTo(handle, typedArray): the tensor's elements, row-major. */
Napi::Value copyTo(const Napi::CallbackInfo& info) {
  refuseOnTape(info, "the host looks at numbers");
  const at::Tensor tensor = tensorArgument(info, 0).detach().cpu().contiguous();
  const Bytes bytes = bytesOf(info[1]);
  if (tensor.nbytes() != bytes.length) throw ArgumentError("array has the wrong length");
  if (bytes.length > 0) std::memcpy(bytes.data, tensor.data_ptr(), bytes.length);
  return info.Env().Undefined();
}

/** share(handle) -> ArrayBuffer on the tensor's own memory, which it keeps alive. */
Napi::Value share(const Napi::CallbackInfo& info) {
  refuseOnTape(info, "the host looks at numbers");
  const at::Tensor& tensor = tensorArgument(info, 0);
  if (!tensor.is_cpu()) throw ArgumentError("must be on the cpu, is on " + tensor.device().str());
  if (!tensor.is_contiguous()) throw ArgumentError("must be contiguous: call contiguous() first");
  if (tensor.nbytes() == 0) return Napi::ArrayBuffer::New(info.Env(), 0);
  auto* owner = new at::Tensor(tensor);
  return Napi::ArrayBuffer::New(
      info.Env(), owner->data_ptr(), owner->nbytes(), [](Napi::Env, void*, at::Tensor* held) { delete held; },
      owner);
}

Napi::Value item(const Napi::CallbackInfo& info) {
  refuseOnTape(info, "the host looks at numbers");
  const at::Tensor& tensor = tensorArgument(info, 0);
  if (tensor.numel() != 1) {
    throw ArgumentError("item() needs one element, the tensor is " + describe(tensor));
  }
  return Napi::Value(info.Env(), fromIValue(info.Env(), tensor.item(), Instance::of(info.Env())));
}

Napi::Value sizes(const Napi::CallbackInfo& info) { return toJsArray(info.Env(), tensorArgument(info, 0).sizes()); }

Napi::Value strides(const Napi::CallbackInfo& info) {
  return toJsArray(info.Env(), tensorArgument(info, 0).strides());
}

Napi::Value dtype(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), dtypeName(tensorArgument(info, 0).scalar_type()));
}

Napi::Value device(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), tensorArgument(info, 0).device().str());
}

Napi::Value numel(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(tensorArgument(info, 0).numel()));
}

Napi::Value describeTensor(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), describe(tensorArgument(info, 0)));
}

Napi::Value isContiguous(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), tensorArgument(info, 0).is_contiguous());
}

/** What our kernels compute on: on the CPU f32, f64 and bf16; on CUDA, where they were built for it, f32 and half precision. */
bool isKnownToKernels(const at::Tensor& tensor) {
  const c10::ScalarType type = tensor.scalar_type();
  if (tensor.is_cpu()) return type == at::kFloat || type == at::kDouble || type == at::kBFloat16;
#if defined(SWITCHYARD_CUDA) && SWITCHYARD_TORCH_AT_LEAST(2, 5)
  return tensor.is_cuda() && (type == at::kFloat || type == at::kBFloat16 || type == at::kHalf);
#else
  return false;
#endif
}

/** Whether kernels can compute on these arguments: all of one type that they know, on one device. */
bool areAlike(const Napi::CallbackInfo& info, bool narrowing) {
  const HandleTable& handles = Instance::of(info.Env()).handles;
  const auto argument = [&](size_t i) -> const at::Tensor& {
    return handles.get(info[i].As<Napi::Number>().DoubleValue());
  };
  const auto isNarrowed = [&](const at::Tensor& tensor) {
    return narrowing && (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16);
  };
  bool alike = info.Length() > 0 && isKnownToKernels(argument(0));
  for (size_t i = 1; i < info.Length() && alike; i++) {
    const bool sameType = argument(i).scalar_type() == argument(0).scalar_type();
    alike = argument(i).device() == argument(0).device() &&
            (sameType || (isNarrowed(argument(i)) && isNarrowed(argument(0))));
  }
  return alike;
}

/** kernelsKnow(handles) */
Napi::Value kernelsKnow(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), areAlike(info, false));
}

/** kernelsNarrow(handles): the same for operators that autocast on the CPU narrows, before which f32 and bf16 are alike. */
Napi::Value kernelsNarrow(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), areAlike(info, at::autocast::is_cpu_enabled()));
}

/** An address that two tensors on the same storage share. */
Napi::Value storageId(const Napi::CallbackInfo& info) {
  const at::Tensor& tensor = tensorArgument(info, 0);
  return Napi::Number::New(info.Env(), static_cast<double>(reinterpret_cast<uintptr_t>(
                                           tensor.storage().unsafeGetStorageImpl())));
}

double handleArgument(const Napi::CallbackInfo& info, size_t index) {
  return info[index].As<Napi::Number>().DoubleValue();
}

Napi::Value release(const Napi::CallbackInfo& info) {
  Instance& instance = Instance::of(info.Env());
  instance.handles.release(handleArgument(info, 0));
  instance.tidyUp(info.Env());
  return info.Env().Undefined();
}

Napi::Value alive(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), Instance::of(info.Env()).handles.alive(handleArgument(info, 0)));
}

Napi::Value persist(const Napi::CallbackInfo& info) {
  Instance::of(info.Env()).handles.persist(handleArgument(info, 0));
  return info.Env().Undefined();
}

Napi::Value openScope(const Napi::CallbackInfo& info) {
  Instance::of(info.Env()).handles.openScope();
  return info.Env().Undefined();
}

/** closeScope(keptHandles) */
Napi::Value closeScope(const Napi::CallbackInfo& info) {
  const auto array = info[0].As<Napi::Array>();
  std::vector<double> kept(array.Length());
  for (uint32_t i = 0; i < kept.size(); i++) kept[i] = array.Get(i).As<Napi::Number>().DoubleValue();
  Instance& instance = Instance::of(info.Env());
  instance.handles.closeScope(kept);
  instance.tidyUp(info.Env());
  return info.Env().Undefined();
}

}  // namespace

Napi::Value newHandle(Napi::Env env, at::Tensor tensor) {
  return Napi::Number::New(env, Instance::of(env).handles.add(std::move(tensor)));
}

void exportTensors(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("fromBytes", guarded<fromBytes>);
  add("copyTo", guarded<copyTo>);
  add("share", guarded<share>);
  add("item", guarded<item>);
  add("sizes", guarded<sizes>);
  add("strides", guarded<strides>);
  add("dtype", guarded<dtype>);
  add("device", guarded<device>);
  add("numel", guarded<numel>);
  add("describe", guarded<describeTensor>);
  add("isContiguous", guarded<isContiguous>);
  add("kernelsKnow", guarded<kernelsKnow>);
  add("kernelsNarrow", guarded<kernelsNarrow>);
  add("storageId", guarded<storageId>);
  add("release", guarded<release>);
  add("alive", guarded<alive>);
  add("persist", guarded<persist>);
  add("openScope", guarded<openScope>);
  add("closeScope", guarded<closeScope>);
}

}  // namespace switchyard

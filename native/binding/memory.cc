#include "memory.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "allocator.h"
#include "errors.h"
#include "instance.h"
#include "values.h"

namespace switchyard {

class Mapping {
 public:
  explicit Mapping(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) throw FileError(path + ": " + std::strerror(errno));
    struct stat status {};
    const bool regular = fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    size_ = regular ? static_cast<size_t>(status.st_size) : 0;
    // Private and writable: an in-place operator changes our copy of a page, never the file.
    if (size_ > 0) {
      data_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file, 0);
    }
    const int error = errno;
    close(file);
    if (!regular) throw FileError(path + ": not a regular file");
    if (data_ == MAP_FAILED) throw FileError(path + ": cannot map: " + std::strerror(error));
  }

  ~Mapping() {
    if (data_ != nullptr && data_ != MAP_FAILED) munmap(data_, size_);
  }

  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  /** Gives back the pages that were read: they are read again when touched. What was written would be lost. */
  void forgetPages() const {
    if (size_ > 0) madvise(data_, size_, MADV_DONTNEED);
  }

  char* data() const { return static_cast<char*>(data_); }
  size_t size() const { return size_; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

namespace {

/** mapFile(path) -> { id, size } */
Napi::Value mapFile(const Napi::CallbackInfo& info) {
  Instance& instance = Instance::of(info.Env());
  auto mapping = std::make_shared<Mapping>(info[0].As<Napi::String>().Utf8Value());
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("id", Napi::Number::New(info.Env(), static_cast<double>(instance.mappings.size())));
  result.Set("size", Napi::Number::New(info.Env(), static_cast<double>(mapping->size())));
  instance.mappings.push_back(std::move(mapping));
  return result;
}

/** mappedTensor(id, byteOffset, sizes, dtype) -> handle on the mapped bytes */
Napi::Value mappedTensor(const Napi::CallbackInfo& info) {
  Instance& instance = Instance::of(info.Env());
  const std::shared_ptr<Mapping> mapping = instance.mappings.at(info[0].As<Napi::Number>().Uint32Value());
  if (mapping == nullptr) throw ArgumentError("the mapped file was closed");
  const double offset = info[1].As<Napi::Number>().DoubleValue();
  const std::vector<int64_t> sizes = toSizes(info.Env(), info[2]);
  const c10::ScalarType type = toScalarType(info.Env(), info[3]);
  const size_t element = c10::elementSize(type);
  size_t bytes = element;
  for (int64_t size : sizes) {
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(size), &bytes)) {
      throw ArgumentError("shape has a negative or too large size");
    }
  }
  const auto length = static_cast<double>(mapping->size());
  if (!(offset >= 0) || offset > length || static_cast<double>(bytes) > length - offset) {
    throw ArgumentError("bytes " + std::to_string(static_cast<int64_t>(offset)) + "+" + std::to_string(bytes) +
                        " lie outside the file of " + std::to_string(mapping->size()) + " bytes");
  }
  char* data = mapping->data() + static_cast<size_t>(offset);
  at::Tensor tensor;
  if (bytes == 0 || reinterpret_cast<uintptr_t>(data) % element != 0) {
    tensor = at::empty(sizes, at::TensorOptions(type));  // unaligned elements cannot be used in place
    if (bytes > 0) std::memcpy(tensor.data_ptr(), data, bytes);
  } else {
    tensor = at::from_blob(data, sizes, [mapping](void*) {}, at::TensorOptions(type));
  }
  return Napi::Number::New(info.Env(), instance.handles.add(tensor));
}

/** forgetPages(id) */
Napi::Value forgetPages(const Napi::CallbackInfo& info) {
  const std::shared_ptr<Mapping> mapping =
      Instance::of(info.Env()).mappings.at(info[0].As<Napi::Number>().Uint32Value());
  if (mapping != nullptr) mapping->forgetPages();
  return info.Env().Undefined();
}

/** unmapFile(id): the file itself is unmapped when its last tensor is gone. */
Napi::Value unmapFile(const Napi::CallbackInfo& info) {
  Instance::of(info.Env()).mappings.at(info[0].As<Napi::Number>().Uint32Value()).reset();
  return info.Env().Undefined();
}

/** memory() -> { tensors, bytes, peakBytes, scopes }: handles of this thread, CPU bytes of the process. */
Napi::Value memory(const Napi::CallbackInfo& info) {
  const Instance& instance = Instance::of(info.Env());
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("tensors", static_cast<double>(instance.handles.live()));
  const MemoryCounts counts = memoryCounts();
  result.Set("bytes", static_cast<double>(counts.live));
  result.Set("peakBytes", static_cast<double>(counts.peak));
  result.Set("cachedBytes", static_cast<double>(counts.cached));
  result.Set("scopes", static_cast<double>(instance.handles.depth()));
  return result;
}

Napi::Value resetPeak(const Napi::CallbackInfo& info) {
  resetPeakBytes();
  return info.Env().Undefined();
}

Napi::Value emptyCache(const Napi::CallbackInfo& info) {
  switchyard::emptyCache();
  return info.Env().Undefined();
}

/** limitCache(bytes) */
Napi::Value limitCache(const Napi::CallbackInfo& info) {
  switchyard::limitCache(info[0].As<Napi::Number>().Int64Value());
  return info.Env().Undefined();
}

/** unlimitCache(bytes) */
Napi::Value unlimitCache(const Napi::CallbackInfo& info) {
  switchyard::unlimitCache(info[0].As<Napi::Number>().Int64Value());
  return info.Env().Undefined();
}

}  // namespace

void exportMemory(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("mapFile", guarded<mapFile>);
  add("mappedTensor", guarded<mappedTensor>);
  add("forgetPages", guarded<forgetPages>);
  add("unmapFile", guarded<unmapFile>);
  add("memory", guarded<memory>);
  add("resetPeak", guarded<resetPeak>);
  add("emptyCache", guarded<emptyCache>);
  add("limitCache", guarded<limitCache>);
  add("unlimitCache", guarded<unlimitCache>);
}

}  // namespace switchyard

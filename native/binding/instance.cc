#include "instance.h"

namespace switchyard {

void BufferReleases::push(napi_ref reference) {
  const std::lock_guard<std::mutex> lock(mutex_);
  pending_.push_back(reference);
  some_ = true;
}

std::vector<napi_ref> BufferReleases::take() {
  if (!some_) return {};
  const std::lock_guard<std::mutex> lock(mutex_);
  some_ = false;
  return std::exchange(pending_, {});
}

void Instance::tidyUp(napi_env env) {
  for (napi_ref reference : buffers->take()) napi_delete_reference(env, reference);
  constexpr int64_t kStep = 16 << 20;
  const int64_t change = handles.unscopedBytes() - reportedBytes;
  if (change < kStep && change > -kStep) return;
  int64_t total;
  napi_adjust_external_memory(env, change, &total);
  reportedBytes += change;
}

Instance& Instance::of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Instance*>(data);
}

}  // namespace switchyard

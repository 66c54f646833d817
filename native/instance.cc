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

Instance& Instance::of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Instance*>(data);
}

}  // namespace switchyard

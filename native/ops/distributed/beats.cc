#include "beats.h"

#include <vector>

namespace switchyard {

Beats::Beats(c10::intrusive_ptr<c10d::Store> store, std::string key, std::chrono::milliseconds interval,
             const Activity& activity)
    : store_(std::move(store)), key_(std::move(key)), interval_(interval), activity_(activity), thread_([this] { run(); }) {}

Beats::~Beats() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ends_ = true;
  }
  ended_.notify_all();
  thread_.join();
}

void Beats::run() {
  try {
    for (int64_t count = 1;; count++) {
      const std::string beat = std::to_string(count) + "|" + activity_.read();
      store_->set(key_, std::vector<uint8_t>(beat.begin(), beat.end()));
      if (!pause()) return;
    }
  } catch (const std::exception&) {
    // The store is gone, and with it everybody who could hear: the next collective says so.
  }
}

/** False when it is to end. */
bool Beats::pause() {
  std::unique_lock<std::mutex> lock(mutex_);
  return !ended_.wait_for(lock, interval_, [this] { return ends_; });
}

}  // namespace switchyard

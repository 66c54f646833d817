// A sign of life, given by a thread of its own: it goes on while the process computes or waits, and ends with it.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace switchyard {

/** What the process is about, as others may read it. */
class Activity {
 public:
  void note(const std::string& progress) {
    const std::lock_guard<std::mutex> lock(mutex_);
    progress_ = progress;
  }
  void wait(const std::string& what) {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_ = what;
  }
  /** `progress|what is waited for`, the latter empty while it computes. */
  std::string read() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return progress_ + "|" + waiting_;
  }

 private:
  mutable std::mutex mutex_;
  std::string progress_;
  std::string waiting_;
};

/** Writes `count|progress|waiting` under a key of a store that nobody else uses. */
class Beats {
 public:
  Beats(c10::intrusive_ptr<c10d::Store> store, std::string key, std::chrono::milliseconds interval,
        const Activity& activity);
  ~Beats();

 private:
  void run();
  bool pause();

  c10::intrusive_ptr<c10d::Store> store_;
  const std::string key_;
  const std::chrono::milliseconds interval_;
  const Activity& activity_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace switchyard

#include "helpers.h"

#include <ATen/Parallel.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace switchyard {
namespace helpers {
namespace {

/** How long a helper looks for work before it sleeps. */
constexpr std::chrono::microseconds kAwake(2000);

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

/** Waits a little, and at times lets whoever else wants the processor have it. */
class Waiting {
 public:
  /** Whether it was such a time. */
  bool step() {
    const bool yields = ++steps_ % kPauses == 0;
    if (yields) sched_yield();
    else pause();
    return yields;
  }

 private:
  static constexpr int kPauses = 32;
  int steps_ = 0;
};

class Helpers {
 public:
  void run(const Work& work) {
    const std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    const int wanted = at::get_num_threads() - 1;
    if (!turn.owns_lock() || wanted < 1 || work.count < 2) {
      for (int64_t i = 0; i < work.count; i++) work.run(work.task, i);
      return;
    }
    for (; threads_ < wanted; threads_++) std::thread([this, number = threads_] { help(number); }).detach();
    work_ = work;
    const bool areOthers = wanted_.exchange(wanted) != wanted;
    next_ = 0;
    isOpen_ = true;
    number_++;
    if (asleep_ > 0 || areOthers) wake();
    takeTasks();
    isOpen_ = false;
    Waiting waiting;
    while (busy_ > 0) waiting.step();
    if (error_ != nullptr) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void takeTasks() {
    try {
      for (int64_t i = next_++; i < work_.count; i = next_++) work_.run(work_.task, i);
    } catch (...) {
      next_ = work_.count;
      const std::lock_guard<std::mutex> lock(sleep_);
      if (error_ == nullptr) error_ = std::current_exception();
    }
  }

  void help(int number) {
    int64_t seen = 0;
    for (;;) {
      seen = waitForWork(number, seen);
      busy_++;
      // Whoever closed the work before this thread was counted does not wait for it.
      if (isOpen_ && number < wanted_) takeTasks();
      busy_--;
    }
  }

  /** The number of the work that has come after `seen`. */
  int64_t waitForWork(int number, int64_t seen) {
    Waiting waiting;
    const auto until = std::chrono::steady_clock::now() + kAwake;
    while (number_ == seen) {
      const bool isWanted = number < wanted_;
      if (waiting.step() && (!isWanted || std::chrono::steady_clock::now() > until)) sleep(isWanted, seen);
    }
    return number_;
  }

  /** @param isWanted whether it is to be woken for the next work */
  void sleep(bool isWanted, int64_t seen) {
    std::unique_lock<std::mutex> lock(sleep_);
    asleep_ += isWanted;
    awake_.wait(lock, [&] { return number_ != seen; });
    asleep_ -= isWanted;
  }

  void wake() {
    const std::lock_guard<std::mutex> lock(sleep_);
    awake_.notify_all();
  }

  std::mutex turn_;  // one work at a time
  Work work_{};
  std::atomic<int> wanted_{0};
  int threads_ = 0;
  std::exception_ptr error_;
  std::atomic<int64_t> next_{0};
  std::atomic<int64_t> number_{0};
  std::atomic<bool> isOpen_{false};
  std::atomic<int> busy_{0};
  std::atomic<int> asleep_{0};
  std::mutex sleep_;
  std::condition_variable awake_;
};

/** Never destroyed: its threads may outlive everything else of the process. */
Helpers& shared() {
  static Helpers* all = new Helpers;
  return *all;
}

}  // namespace

void run(const Work& work) { shared().run(work); }

}  // namespace helpers
}  // namespace switchyard

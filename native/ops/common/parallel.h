// Work for all of libtorch's threads.
#pragma once

#include <ATen/Parallel.h>
#include <omp.h>

#include <algorithm>
#include <atomic>

#include "gemm.h"

namespace switchyard {

/**
 * Runs `task(i)` for 0 <= i < count on all threads, each taking the next one when it is free; put the longest first.
 * Products are single-threaded inside. Exceptions pass through.
 */
template <typename Task>
void parallelTasks(int64_t count, const Task& task) {
  const SingleThreadedProducts guard;
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), count);
  std::atomic<int64_t> next{0};
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t thread = begin; thread < end; thread++) {
      for (int64_t i = next++; i < count; i = next++) task(i);
    }
  });
}

/** While alive, its thread works alone: for what is done before other threads would be awake. */
class Alone {
 public:
  Alone() : before_(at::get_num_threads()) { omp_set_num_threads(1); }
  ~Alone() { omp_set_num_threads(before_); }
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;

 private:
  const int before_;
  const SingleThreadedProducts products_;
};

/** Runs `body(begin, end)` on parts of 0..count; a part has at least `grain` items. */
template <typename Body>
void parallelRange(int64_t count, int64_t grain, const Body& body) {
  at::parallel_for(0, count, std::max<int64_t>(1, grain), body);
}

}  // namespace switchyard

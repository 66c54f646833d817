// Threads that help with short work when they can: nobody waits for one to wake up.
#pragma once

#include <cstdint>

namespace switchyard {

/**
 * Runs `task(i)` for 0 <= i < count: on this thread, and on those that are awake. Each takes the next task when it is free.
 * Helpers stay awake for some milliseconds after their last task, and let others have the processor meanwhile, so that work
 * that comes in short pieces, as of decoding, is shared at once; where a neighbour keeps them from running, this thread goes
 * on without them.
 *
 * Tasks must not call libraries with threads of their own. Exceptions pass through.
 */
template <typename Task>
void helpedTasks(int64_t count, const Task& task);

namespace helpers {

/** Tasks without their type. */
struct Work {
  int64_t count;
  void (*run)(const void* task, int64_t i);
  const void* task;
};

void run(const Work& work);

}  // namespace helpers

template <typename Task>
void helpedTasks(int64_t count, const Task& task) {
  helpers::run({count, [](const void* of, int64_t i) { (*static_cast<const Task*>(of))(i); }, &task});
}

}  // namespace switchyard

// A function with a stack of its own, that can stop in the middle and go on later.
#pragma once

#include <csetjmp>
#include <cstddef>
#include <functional>

namespace emulation {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /** Begins `body`, or goes on with the one that has begun, until it suspends or ends; returns whether it ended. */
  bool resume(const std::function<void()>& body);

  /** Called inside: back to whoever resumed. */
  void suspend();

 private:
  static void enter();
  void loop();

  char* stack_;
  jmp_buf inside_;
  jmp_buf outside_;
  bool started_ = false;  // whether inside_ can be jumped to
  bool ended_ = true;
  const std::function<void()>* body_ = nullptr;
  const void* outsideStack_ = nullptr;  // for the address sanitizer
  size_t outsideSize_ = 0;
};

}  // namespace emulation

// ucontext makes the stack, setjmp switches: swapcontext() would ask the kernel for the signal mask each time.

#include "fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#else
// The sanitizer must be told of every change of stacks; without it there is nobody to tell.
inline void __sanitizer_start_switch_fiber(void**, const void*, size_t) {}
inline void __sanitizer_finish_switch_fiber(void*, const void**, size_t*) {}
#endif

namespace emulation {
namespace {

constexpr size_t kStackBytes = 256 << 10;  // touched pages only are real

thread_local Fiber* entering = nullptr;

}  // namespace

Fiber::Fiber() {
  void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<char*>(memory);
}

Fiber::~Fiber() { munmap(stack_, kStackBytes); }

bool Fiber::resume(const std::function<void()>& body) {
  body_ = &body;
  ended_ = false;
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stack_, kStackBytes);
  if (_setjmp(outside_) == 0) {
    if (started_) _longjmp(inside_, 1);
    started_ = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stack_;
    context.uc_stack.ss_size = kStackBytes;
    context.uc_link = nullptr;
    makecontext(&context, &Fiber::enter, 0);
    entering = this;
    setcontext(&context);
  }
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
  return ended_;
}

void Fiber::suspend() {
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, outsideStack_, outsideSize_);
  if (_setjmp(inside_) == 0) _longjmp(outside_, 1);
  __sanitizer_finish_switch_fiber(fake, &outsideStack_, &outsideSize_);
}

void Fiber::enter() {
  Fiber* self = entering;
  __sanitizer_finish_switch_fiber(nullptr, &self->outsideStack_, &self->outsideSize_);
  self->loop();
}

void Fiber::loop() {
  for (;;) {
    (*body_)();
    ended_ = true;
    suspend();
  }
}

}  // namespace emulation

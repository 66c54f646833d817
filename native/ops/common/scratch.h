// Memory of one thread that kernels use and give back, kept from call to call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace switchyard {

/** Hands out buffers that live until it does; the memory stays with the thread for the next kernel. */
template <typename T>
class Scratch {
 public:
  Scratch() { arena().used = 0; }

  /** `count` elements, as they come. At most eight buffers at a time. */
  T* take(int64_t count) {
    std::vector<T>& buffer = arena().buffers[arena().used++];
    if (static_cast<int64_t>(buffer.size()) < count) {
      buffer.clear();
      buffer.resize(count);
    }
    return buffer.data();
  }

 private:
  struct Arena {
    std::vector<T> buffers[8];
    int used = 0;
  };

  static Arena& arena() {
    static thread_local Arena arena;
    return arena;
  }
};

}  // namespace switchyard

// Memory of one thread that kernels use and give back, kept from call to call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace switchyard {

/** Hands out buffers that live until it does; the memory stays with the thread for the next kernel. One at a time. */
class Scratch {
 public:
  Scratch() { arena().used = 0; }

  /** `count` elements, as they come. At most twelve buffers. */
  template <typename T>
  T* take(int64_t count) {
    std::vector<std::max_align_t>& buffer = arena().buffers[arena().used++];
    const size_t wanted = (count * sizeof(T) + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t);
    if (buffer.size() < wanted) {
      buffer.clear();
      buffer.resize(wanted);
    }
    return reinterpret_cast<T*>(buffer.data());
  }

 private:
  struct Arena {
    std::vector<std::max_align_t> buffers[12];
    int used = 0;
  };

  static Arena& arena() {
    static thread_local Arena arena;
    return arena;
  }
};

}  // namespace switchyard

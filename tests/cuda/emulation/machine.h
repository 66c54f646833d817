// Runs the threads of a block in turns on one processor. A thread runs until it must wait for others, so that a barrier which
// is missing shows: in another order of threads the result is another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

namespace emulation {

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

extern thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

/** Which thread, and which block, goes first. */
enum class Order { Forward, Backward, Shuffled };

void setOrder(Order order);

/** Runs `thread` once for each thread of each block. Throws std::logic_error when all wait for one that never comes. */
void run(dim3 grid, dim3 block, size_t sharedBytes, const std::function<void()>& thread);

/** Of the running block. Shared memory is filled with NaN before each block, so that nothing can rest on an earlier one. */
unsigned char* dynamicShared();

/** Makes a static array known as shared memory; returns true. */
bool noteShared(void* memory, size_t bytes);

/** Waits for every thread of the block. */
void syncBlock();

/** Waits for the 32 threads of the warp: the only mask we use. */
void syncWarp(unsigned mask);

/** Hands `bits` to the warp and waits; returns what its 32 threads handed over, valid until the next call but one. */
const uint64_t* exchangeBits(unsigned mask, uint64_t bits);

/** The values of a warp's threads. */
template <typename T>
struct Exchanged {
  const uint64_t* bits;

  T operator[](unsigned lane) const {
    T value;
    std::memcpy(&value, bits + lane, sizeof value);
    return value;
  }
};

template <typename T>
Exchanged<T> exchange(unsigned mask, T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return {exchangeBits(mask, bits)};
}

}  // namespace emulation

// As much of CUDA as our kernels use, for g++: they then run on the CPU, the threads of a block as fibers. For tests where
// there is no GPU. Not emulated: speed, alignment faults, memory that blocks race for.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "half.h"
#include "machine.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static thread_local

using emulation::blockDim;
using emulation::blockIdx;
using emulation::dim3;
using emulation::gridDim;
using emulation::threadIdx;

/** A word that any memory is moved by. */
struct __attribute__((may_alias, aligned(16))) uint4 {
  unsigned x, y, z, w;
};

inline void __stwb(uint4* to, uint4 word) { *to = word; }

inline void __syncthreads() { emulation::syncBlock(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { emulation::syncWarp(mask); }

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane) {
  return emulation::exchange(mask, value)[lane & 31];
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int offset) {
  return emulation::exchange(mask, value)[(threadIdx.x % 32) ^ static_cast<unsigned>(offset)];
}

template <typename T>
unsigned __match_any_sync(unsigned mask, T value) {
  const auto values = emulation::exchange(mask, value);
  unsigned same = 0;
  for (int lane = 0; lane < 32; lane++) same |= static_cast<unsigned>(values[lane] == value) << lane;
  return same;
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

// One thread runs at a time: atomic already.
inline int atomicAdd(int* at, int value) {
  const int before = *at;
  *at += value;
  return before;
}

inline int atomicMax(int* at, int value) {
  const int before = *at;
  if (value > before) *at = value;
  return before;
}

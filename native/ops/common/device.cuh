// What every kernel is written with: element types, vectors of 16 bytes, launches. Compiled by nvcc, or by g++ against the
// emulation.
#pragma once

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#else
#include "emulation/cuda.h" // tests/cuda
#endif

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "element.h"

namespace switchyard::cuda {

using half = __half;
using bfloat16 = __nv_bfloat16;

constexpr unsigned kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

/** Elements of T that one load of 16 bytes brings. */
template <typename T>
constexpr int kVector = 16 / sizeof(T);

// --- elements -----------------------------------------------------------------------------------------------------

__device__ inline float toFloat(float x) { return x; }
__device__ inline float toFloat(half x) { return __half2float(x); }
__device__ inline float toFloat(bfloat16 x) { return __bfloat162float(x); }

/** Rounds to the nearest, ties to even. */
template <typename T>
__device__ inline T fromFloat(float x) {
  if constexpr (std::is_same_v<T, half>) {
    return __float2half_rn(x);
  } else if constexpr (std::is_same_v<T, bfloat16>) {
    return __float2bfloat16_rn(x);
  } else {
    return x;
  }
}

/** N elements side by side, moved at once; at most 16 bytes per instruction. */
template <typename T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T items[N];
};

template <typename T, int N>
__device__ inline Pack<T, N> loadPack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

/** To global memory. Words of 16 bytes are stored by name: left alone, nvcc takes some apart again. */
template <typename T, int N>
__device__ inline void storePack(T* to, const Pack<T, N>& pack) {
  if constexpr (sizeof pack % sizeof(uint4) == 0) {
#pragma unroll
    for (size_t i = 0; i < sizeof pack / sizeof(uint4); i++) {
      __stwb(reinterpret_cast<uint4*>(to) + i, reinterpret_cast<const uint4*>(&pack)[i]);
    }
  } else {
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
  }
}

template <int N, typename T>
__device__ inline void load(const T* from, float (&values)[N]) {
  const Pack<T, N> pack = loadPack<T, N>(from);
#pragma unroll
  for (int i = 0; i < N; i++) values[i] = toFloat(pack.items[i]);
}

template <int N, typename T>
__device__ inline void store(T* to, const float (&values)[N]) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; i++) pack.items[i] = fromFloat<T>(values[i]);
  storePack(to, pack);
}

/** To shared memory, as it is. */
template <int N>
__device__ inline void storeShared(float* to, const float (&values)[N]) {
  Pack<float, N> pack;
#pragma unroll
  for (int i = 0; i < N; i++) pack.items[i] = values[i];
  *reinterpret_cast<Pack<float, N>*>(to) = pack;
}

// --- launches -----------------------------------------------------------------------------------------------------

/** Bytes of the launch's dynamic shared memory. */
__device__ inline unsigned char* sharedBytes() {
#if defined(__CUDACC__)
  extern __shared__ __align__(16) unsigned char switchyardShared[];
  return switchyardShared;
#else
  return emulation::dynamicShared();
#endif
}

/** N values that the block shares, for `Use`, a type that names them. */
template <typename T, int N, typename Use>
__device__ inline T* sharedArray() {
  __shared__ T values[N];
#if !defined(__CUDACC__)
  static thread_local const bool noted = emulation::noteShared(values, sizeof values);
  (void)noted;
#endif
  return values;
}

constexpr int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

#if defined(__CUDACC__)
inline void check(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(status));
}

/** `kernel<<<grid, block, shared, stream>>>(arguments...)`; nothing for an empty grid. */
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, unsigned block, size_t shared, cudaStream_t stream,
            const Arguments&... arguments) {
  if (grid.x == 0 || grid.y == 0) return;
  constexpr size_t kUnasked = 48 << 10;
  if (shared > kUnasked) {
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)));
  }
  kernel<<<grid, block, shared, stream>>>(static_cast<Parameters>(arguments)...);
  check(cudaGetLastError());
}
#else
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, unsigned block, size_t shared, cudaStream_t,
            const Arguments&... arguments) {
  emulation::run(grid, block, shared, [=] { kernel(static_cast<Parameters>(arguments)...); });
}
#endif

/** A grid of `blocks` in one dimension. */
inline dim3 gridOf(int64_t blocks) {
  if (blocks > INT32_MAX) throw std::runtime_error("too many rows for one launch: " + std::to_string(blocks));
  return dim3(static_cast<unsigned>(blocks), 1, 1);
}

/** Calls `body` with a value of the element's type. */
template <typename Body>
void withElement(Element element, const Body& body) {
  switch (element) {
    case Element::F32:
      return body(float{});
    case Element::F16:
      return body(half{});
    case Element::BF16:
      return body(bfloat16{});
  }
}

/** Calls `body` with the elements per access, as a constant: 16 bytes' worth if `wide`, else one. */
template <typename T, typename Body>
void withVector(bool wide, const Body& body) {
  if (wide) return body(std::integral_constant<int, kVector<T>>{});
  body(std::integral_constant<int, 1>{});
}

/** Whether rows of `width` elements can be moved 16 bytes at a time, given where their arrays start. */
template <typename T>
bool isWide(int64_t width, std::initializer_list<const void*> arrays) {
  for (const void* array : arrays) {
    if (reinterpret_cast<uintptr_t>(array) % 16 != 0) return false;
  }
  return width % kVector<T> == 0;
}

}  // namespace switchyard::cuda

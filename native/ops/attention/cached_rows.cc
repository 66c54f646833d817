#include "cached_rows.h"

#include <cmath>
#include <cstring>

#include "../common/simd.h"

namespace switchyard {
namespace {

template <typename T>
SWITCHYARD_INLINE void gatherLoop(T* __restrict scores, int64_t count, T* __restrict mixed, int64_t width, T& largest,
                                  T& sum) {
  T now = largest;
#pragma omp simd reduction(max : now)
  for (int64_t i = 0; i < count; i++) now = scores[i] > now ? scores[i] : now;
  T more = 0;
#pragma omp simd reduction(+ : more)
  for (int64_t i = 0; i < count; i++) more += scores[i] = fastExp(scores[i] - now);
  const T factor = std::exp(largest - now);
  for (int64_t i = 0; i < width; i++) mixed[i] *= factor;
  sum = sum * factor + more;
  largest = now;
}

#if defined(__GNUC__) && !defined(__clang__)
#define SWITCHYARD_HAS_VECTORS
/** Sixteen numbers, in as many registers as the processor needs for them. */
using Sixteen = float __attribute__((vector_size(64)));
using SixteenAt = float __attribute__((vector_size(64), aligned(4), may_alias));
using Lanes = int32_t __attribute__((vector_size(64)));

SWITCHYARD_INLINE Sixteen sixteenAt(const float* from) { return *reinterpret_cast<const SixteenAt*>(from); }

/** Sums of neighbours: those of a, then those of b. */
SWITCHYARD_INLINE Sixteen addNeighbours(const Sixteen& a, const Sixteen& b) {
  const Lanes even = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
  const Lanes odd = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31};
  return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, odd);
}

/** The products of a query and sixteen keys, of a width that sixteen divides. Sums are taken of all keys together. */
SWITCHYARD_INLINE void scoreSixteen(const float* query, Matrix<float> keys, int64_t width, float* scores) {
  Sixteen sums[16] = {};
  for (int64_t i = 0; i < width; i += 16) {
    const Sixteen q = sixteenAt(query + i);
#pragma GCC unroll 16
    for (int s = 0; s < 16; s++) sums[s] += q * sixteenAt(keys.data + s * keys.stride + i);
  }
#pragma GCC unroll 4
  for (int count = 8; count > 0; count /= 2) {
#pragma GCC unroll 8
    for (int s = 0; s < count; s++) sums[s] = addNeighbours(sums[2 * s], sums[2 * s + 1]);
  }
  std::memcpy(scores, &sums[0], sizeof sums[0]);
}

/** `mixed [64] += p values`, for one row and some of the columns: sums stay in registers. */
SWITCHYARD_INLINE void mixColumns(const float* p, Matrix<float> values, int64_t count, float* mixed) {
  Sixteen sums[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) sums[i] = sixteenAt(mixed + 16 * i);
  for (int64_t s = 0; s < count; s++) {
    const float* value = values.data + s * values.stride;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) sums[i] += p[s] * sixteenAt(value + 16 * i);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) std::memcpy(mixed + 16 * i, &sums[i], sizeof sums[i]);
}
#endif

/** Four positions at a time: one sum alone would wait for itself. */
template <typename T>
SWITCHYARD_INLINE void scoreLoop(const T* queries, int64_t rows, Matrix<T> keys, int64_t count, int64_t width,
                                 T* scores, int64_t stride) {
  int64_t s = 0;
  for (; s + 4 <= count; s += 4) {
    const T *__restrict k0 = keys.data + s * keys.stride, *__restrict k1 = k0 + keys.stride;
    const T *__restrict k2 = k1 + keys.stride, *__restrict k3 = k2 + keys.stride;
    for (int64_t r = 0; r < rows; r++) {
      const T* __restrict query = queries + r * width;
      T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
#pragma omp simd reduction(+ : s0, s1, s2, s3)
      for (int64_t i = 0; i < width; i++) {
        s0 += query[i] * k0[i];
        s1 += query[i] * k1[i];
        s2 += query[i] * k2[i];
        s3 += query[i] * k3[i];
      }
      T* to = scores + r * stride + s;
      to[0] = s0, to[1] = s1, to[2] = s2, to[3] = s3;
    }
  }
  for (; s < count; s++) {
    const T* __restrict key = keys.data + s * keys.stride;
    for (int64_t r = 0; r < rows; r++) {
      T sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < width; i++) sum += queries[r * width + i] * key[i];
      scores[r * stride + s] = sum;
    }
  }
}

/** Four positions at a time, so that sums are not stored for each. */
template <typename T>
SWITCHYARD_INLINE void mixLoop(const T* p, int64_t stride, int64_t rows, Matrix<T> values, int64_t count, int64_t width, T* mixed) {
  int64_t s = 0;
  for (; s + 4 <= count; s += 4) {
    const T *__restrict v0 = values.data + s * values.stride, *__restrict v1 = v0 + values.stride;
    const T *__restrict v2 = v1 + values.stride, *__restrict v3 = v2 + values.stride;
    for (int64_t r = 0; r < rows; r++) {
      const T* at = p + r * stride + s;
      const T p0 = at[0], p1 = at[1], p2 = at[2], p3 = at[3];
      T* __restrict to = mixed + r * width;
      for (int64_t i = 0; i < width; i++) to[i] += (p0 * v0[i] + p1 * v1[i]) + (p2 * v2[i] + p3 * v3[i]);
    }
  }
  for (; s < count; s++) {
    const T* __restrict value = values.data + s * values.stride;
    for (int64_t r = 0; r < rows; r++) {
      T* __restrict to = mixed + r * width;
      for (int64_t i = 0; i < width; i++) to[i] += p[r * stride + s] * value[i];
    }
  }
}

}  // namespace

SWITCHYARD_VECTORIZED
void gatherRow(float* scores, int64_t count, float* mixed, int64_t width, float& largest, float& sum) {
  gatherLoop(scores, count, mixed, width, largest, sum);
}
void gatherRow(double* scores, int64_t count, double* mixed, int64_t width, double& largest, double& sum) {
  gatherLoop(scores, count, mixed, width, largest, sum);
}

SWITCHYARD_VECTORIZED
void scoreFew(const float* queries, int64_t rows, Matrix<float> keys, int64_t count, int64_t width, float* scores,
              int64_t stride) {
#if defined(SWITCHYARD_HAS_VECTORS)
  if (width % 16 == 0) {
    for (; count >= 16; count -= 16, keys.data += 16 * keys.stride, scores += 16) {
      for (int64_t r = 0; r < rows; r++) scoreSixteen(queries + r * width, keys, width, scores + r * stride);
    }
  }
#endif
  scoreLoop(queries, rows, keys, count, width, scores, stride);
}
void scoreFew(const double* queries, int64_t rows, Matrix<double> keys, int64_t count, int64_t width, double* scores,
              int64_t stride) {
  scoreLoop(queries, rows, keys, count, width, scores, stride);
}

SWITCHYARD_VECTORIZED
void mixFew(const float* p, int64_t stride, int64_t rows, Matrix<float> values, int64_t count, int64_t width,
            float* mixed) {
#if defined(SWITCHYARD_HAS_VECTORS)
  if (width % 64 == 0) {
    for (int64_t r = 0; r < rows; r++) {
      for (int64_t e = 0; e < width; e += 64) {
        mixColumns(p + r * stride, {values.data + e, values.stride}, count, mixed + r * width + e);
      }
    }
    return;
  }
#endif
  mixLoop(p, stride, rows, values, count, width, mixed);
}
void mixFew(const double* p, int64_t stride, int64_t rows, Matrix<double> values, int64_t count, int64_t width,
            double* mixed) {
  mixLoop(p, stride, rows, values, count, width, mixed);
}

}  // namespace switchyard

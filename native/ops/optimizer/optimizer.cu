#include "optimizer_launch.h"

#include "../common/row_block.cuh"
#include "stochastic_rounding.h"
#include "tensor_table.cuh"

namespace switchyard::cuda {
namespace {

constexpr int kThreads = 256;

// --- AdamW --------------------------------------------------------------------------------------------------------

struct Settings {
  float decay;        // 1 - lr wd
  float beta1, beta2;
  float rate;         // lr / (1 - b1^t)
  float inverseRoot;  // 1 / sqrt(1 - b2^t)
  float epsilon;
  float factor;       // of gradients: scale and clipping
  uint32_t step;
};

__device__ inline Settings readSettings(const float* s, float norm, float clip) {
  const float inverse = s[6];
  const float shrink = clip > 0 ? clip / (norm * inverse + 1e-6f) : 1.0f;
  const float factor = inverse * (shrink < 1.0f ? shrink : 1.0f);
  return {s[0], s[1], s[2], s[3], s[4], s[5], factor, static_cast<uint32_t>(s[7])};
}

struct Moved {
  float parameter, mean, square;
};

/** `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, `p = (1 - lr wd) p - rate m / (sqrt(v) inverse + eps)`. */
__device__ inline Moved move(Moved old, float gradient, const Settings& s) {
  const float g = gradient * s.factor;
  const float m = s.beta1 * old.mean + (1.0f - s.beta1) * g;
  const float v = s.beta2 * old.square + (1.0f - s.beta2) * g * g;
  return {s.decay * old.parameter - s.rate * m / (sqrtf(v) * s.inverseRoot + s.epsilon), m, v};
}

/** Rounds by chance if T is bf16, with the low 16 bits of `random`. */
template <typename T>
__device__ inline T roundByChance(float value, uint32_t random) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    const uint16_t bits = stochasticBfloat16(value, random);
    bfloat16 rounded;
    memcpy(&rounded, &bits, sizeof bits);
    return rounded;
  } else {
    return fromFloat<T>(value);
  }
}

/** V elements of a tensor from `at` on. P parameters, G gradients, M moments. */
template <typename P, typename G, typename M, int V>
__device__ inline void updateAt(const AdamWTensor& tensor, int64_t at, const Settings& s) {
  P* parameter = static_cast<P*>(tensor.parameter) + at;
  M* mean = static_cast<M*>(tensor.mean) + at;
  M* square = static_cast<M*>(tensor.square) + at;
  float p[V], g[V], m[V], v[V];
  load(static_cast<const G*>(tensor.gradient) + at, g);
  load(mean, m);
  load(square, v);
  if (tensor.master != nullptr) {
    load(tensor.master + at, p);
  } else {
    load(parameter, p);
  }
  Pack<P, V> rounded;
  Pack<M, V> squares;
#pragma unroll
  for (int i = 0; i < V; i++) {
    const Moved moved = move({p[i], m[i], v[i]}, g[i], s);
    const uint32_t random = elementBits(s.step, tensor.index, at + i);
    p[i] = moved.parameter;
    m[i] = moved.mean;
    rounded.items[i] = tensor.master != nullptr ? fromFloat<P>(p[i]) : roundByChance<P>(p[i], random);
    squares.items[i] = roundByChance<M>(moved.square, random >> 16);
  }
  if (tensor.master != nullptr) store(tensor.master + at, p);
  storePack(parameter, rounded);
  store(mean, m);
  storePack(square, squares);
}

template <typename P, typename G, typename M, int V>
__global__ void __launch_bounds__(kThreads)
    updateTensors(TensorTable<AdamWTensor> table, const float* settings, const float* norm, float clip) {
  const float size = *norm;
  if (!(fabsf(size) <= 3.402823466e38f)) return;  // infinite or NaN: this step is not taken
  const Settings s = readSettings(settings, size, clip);
  int64_t begin, end;
  const AdamWTensor& tensor = table.find(blockIdx.x, &begin, &end);
  const int64_t wide = begin + (end - begin) / V * V;
  for (int64_t at = begin + threadIdx.x * V; at < wide; at += kThreads * V) updateAt<P, G, M, V>(tensor, at, s);
  if constexpr (V > 1) {
    for (int64_t at = wide + threadIdx.x; at < end; at += kThreads) updateAt<P, G, M, 1>(tensor, at, s);
  }
}

bool areWide(const std::vector<AdamWTensor>& tensors) {
  for (const AdamWTensor& t : tensors) {
    if (!isWide<float>(0, {t.parameter, t.gradient, t.mean, t.square, t.master})) return false;
  }
  return true;
}

template <typename P, typename G, typename M>
void launchTyped(const AdamW& step, cudaStream_t stream) {
  withVector<P>(areWide(step.tensors), [&](auto vector) {
    forEachTable(step.tensors, [&](const TensorTable<AdamWTensor>& table, int blocks) {
      launch(updateTensors<P, G, M, vector>, gridOf(blocks), kThreads, 0, stream, table, step.settings, step.norm,
             step.clip);
    });
  });
}

// --- norm ---------------------------------------------------------------------------------------------------------

/** Sums over the threads of a block; in f64, since squares leave the range of f32 long before the gradients do. */
__device__ inline double sumOfBlock(double sum) { return reduceRow(sum, blockDim.x, Sum()); }

template <typename T, int V>
__device__ inline double squaresAt(const T* values) {
  float x[V];
  load(values, x);
  double sum = 0;
#pragma unroll
  for (int i = 0; i < V; i++) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

template <typename T, int V>
__global__ void __launch_bounds__(kThreads) sumSquares(TensorTable<NormTensor> table, double* sums) {
  int64_t begin, end;
  const T* values = static_cast<const T*>(table.find(blockIdx.x, &begin, &end).values);
  const int64_t wide = begin + (end - begin) / V * V;
  double sum = 0;
#pragma unroll 4
  for (int64_t at = begin + threadIdx.x * V; at < wide; at += kThreads * V) sum += squaresAt<T, V>(values + at);
  for (int64_t at = wide + threadIdx.x; at < end; at += kThreads) sum += squaresAt<T, 1>(values + at);
  sum = sumOfBlock(sum);
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(1024) finishNorm(const double* sums, int64_t count, float* norm) {
  double sum = 0;
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += sums[i];
  sum = sumOfBlock(sum);
  if (threadIdx.x == 0) *norm = static_cast<float>(sqrt(sum));
}

}  // namespace

void launchAdamW(const AdamW& step, cudaStream_t stream) {
  withElement(step.parameter, [&](auto parameter) {
    using P = decltype(parameter);
    const auto withGradient = [&](auto gradient) {
      using G = decltype(gradient);
      if (step.moment == Element::BF16) return launchTyped<P, G, bfloat16>(step, stream);
      launchTyped<P, G, float>(step, stream);
    };
    if (step.gradient == step.parameter) return withGradient(P{});
    withGradient(float{});
  });
}

int64_t squareSums(const std::vector<NormTensor>& tensors) {
  int64_t blocks = 0;
  for (const NormTensor& tensor : tensors) blocks += ceilDiv(tensor.count, kStretch);
  return blocks;
}

void launchSquares(Element element, const std::vector<NormTensor>& tensors, double* sums, cudaStream_t stream) {
  withElement(element, [&](auto zero) {
    using T = decltype(zero);
    bool wide = true;
    for (const NormTensor& tensor : tensors) wide = wide && isWide<T>(0, {tensor.values});
    withVector<T>(wide, [&](auto vector) {
      forEachTable(tensors, [&](const TensorTable<NormTensor>& table, int blocks) {
        launch(sumSquares<T, vector>, gridOf(blocks), kThreads, 0, stream, table, sums);
        sums += blocks;
      });
    });
  });
}

void launchNorm(const double* sums, int64_t count, float* norm, cudaStream_t stream) {
  launch(finishNorm, gridOf(1), 1024, 0, stream, sums, count, norm);
}

}  // namespace switchyard::cuda

// Logits, sums and losses are of A: f32 where hidden states and weights are bf16.
// Shapes: N tokens, D model, V vocabulary, C tokens per chunk.

#include "linear_cross_entropy.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/scalar_tensor.h>

#include <cmath>
#include <vector>

#include "../common/elementwise.h"
#include "../common/gemm.h"
#include "../common/parallel.h"
#include "../common/simd.h"

namespace switchyard {
namespace {

/** Logits of a chunk take at most this many bytes: they should stay in the last-level cache. */
constexpr int64_t kChunkBytes = 8 << 20;

/** Turns logits into `scale (softmax - onehot)` and returns `logsumexp(z) - z_target`. */
template <typename T>
SWITCHYARD_INLINE T lossLoop(T* __restrict logits, int64_t target, T scale, int64_t count) {
  T largest = logits[0];
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < count; i++) largest = logits[i] > largest ? logits[i] : largest;
  const T wanted = logits[target];
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += logits[i] = fastExp(logits[i] - largest);
  const T factor = scale / sum;
  for (int64_t i = 0; i < count; i++) logits[i] *= factor;
  logits[target] -= scale;
  return std::log(sum) + largest - wanted;
}

SWITCHYARD_VECTORIZED
float lossRow(float* logits, int64_t target, float scale, int64_t count) {
  return lossLoop(logits, target, scale, count);
}

double lossRow(double* logits, int64_t target, double scale, int64_t count) {
  return lossLoop(logits, target, scale, count);
}

template <typename T>
LinearCrossEntropy compute(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                           int64_t ignored, bool withGradients) {
  using A = WideOf<T>;
  constexpr bool isWide = std::is_same_v<T, A>;
  const int64_t tokens = hidden.size(0), model = hidden.size(1), vocabulary = weight.size(0);
  const auto* target = targets.data_ptr<int64_t>();
  int64_t counted = 0;
  for (int64_t i = 0; i < tokens; i++) {
    TORCH_CHECK(target[i] == ignored || (target[i] >= 0 && target[i] < vocabulary), "target ", target[i],
                " is outside of the vocabulary of ", vocabulary);
    counted += target[i] != ignored;
  }
  const at::TensorOptions wide = hidden.options().dtype(c10::CppTypeToScalarType<A>::value);
  at::Tensor dHidden, dWeight;
  if (withGradients) {
    dHidden = at::empty(hidden.sizes(), wide);
    dWeight = at::empty(weight.sizes(), wide);
    if (tokens == 0) dWeight.zero_();
  }
  const int64_t chunk = std::clamp<int64_t>(kChunkBytes / (vocabulary * sizeof(A)), 16, 1024);
  const A scale = A(1) / static_cast<A>(counted);
  const int64_t most = std::min(chunk, tokens);
  at::Tensor logits = at::empty({most, vocabulary}, wide);
  at::Tensor narrowed = isWide ? logits : at::empty({most, vocabulary}, hidden.options());
  std::vector<A> losses(tokens, A(0));
  A* z = logits.data_ptr<A>();
  T* gradient = narrowed.data_ptr<T>();
  const Matrix<T> w{weight.data_ptr<T>(), model};
  for (int64_t begin = 0; begin < tokens; begin += chunk) {
    const int64_t rows = std::min(chunk, tokens - begin);
    const Matrix<T> h{hidden.data_ptr<T>() + begin * model, model};
    gemm(rows, vocabulary, model, h, w.t(), A(0), z, vocabulary);  // [C, V]
    parallelRange(rows, 8, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; row++) {
        const int64_t wanted = target[begin + row];
        A* scores = z + row * vocabulary;
        if (wanted == ignored) {
          std::fill_n(scores, vocabulary, A(0));
        } else {
          losses[begin + row] = lossRow(scores, wanted, scale, vocabulary);
        }
        if (withGradients) narrowRow(scores, gradient + row * vocabulary, vocabulary);
      }
    });
    if (!withGradients) continue;
    const Matrix<T> dZ{gradient, vocabulary};
    gemm(rows, model, vocabulary, dZ, w, A(0), dHidden.data_ptr<A>() + begin * model, model);
    gemm(vocabulary, model, rows, dZ.t(), h, begin == 0 ? A(0) : A(1), dWeight.data_ptr<A>(), model);
  }
  double sum = 0;
  for (const A loss : losses) sum += loss;
  const at::Tensor loss = at::scalar_tensor(sum / static_cast<double>(counted), wide);
  if (!withGradients) return {loss, dHidden, dWeight};
  return {loss, dHidden.to(hidden.scalar_type()), dWeight.to(weight.scalar_type())};
}

}  // namespace

LinearCrossEntropy linearCrossEntropy(const at::Tensor& hidden, const at::Tensor& weight, const at::Tensor& targets,
                                      int64_t ignored, bool withGradients) {
  TORCH_CHECK(hidden.dim() == 2 && weight.dim() == 2 && hidden.size(1) == weight.size(1), "weight ", weight.sizes(),
              " does not fit hidden ", hidden.sizes());
  TORCH_CHECK(targets.dim() == 1 && targets.size(0) == hidden.size(0) && targets.scalar_type() == at::kLong,
              "targets must be i64 [", hidden.size(0), "]");
  const at::Tensor rows = hidden.contiguous(), packed = weight.contiguous(), wanted = targets.contiguous();
  LinearCrossEntropy result;
  AT_DISPATCH_FLOATING_TYPES_AND(at::kBFloat16, hidden.scalar_type(), "switchyard::linear_cross_entropy", [&] {
    result = compute<scalar_t>(rows, packed, wanted, ignored, withGradients);
  });
  return result;
}

}  // namespace switchyard

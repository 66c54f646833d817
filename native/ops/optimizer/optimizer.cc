#include "optimizer.h"

#include <ATen/Dispatch.h>

#include <cmath>
#include <vector>

#include "../common/parallel.h"
#include "../common/simd.h"

namespace switchyard {
namespace {

/** A stretch of one tensor. */
struct Piece {
  size_t tensor;
  int64_t begin;
  int64_t count;
};

/** Pieces do not depend on the number of threads, so that sums over them do not either. */
std::vector<Piece> cut(at::TensorList tensors) {
  constexpr int64_t kPiece = 32768;
  std::vector<Piece> pieces;
  for (size_t i = 0; i < tensors.size(); i++) {
    const int64_t count = tensors[i].numel();
    for (int64_t begin = 0; begin < count; begin += kPiece) pieces.push_back({i, begin, std::min(kPiece, count - begin)});
  }
  return pieces;
}

template <typename T>
struct Factors {
  T decay;      // 1 - lr wd
  T gradient;
  T beta1, beta2;
  T rate;       // lr / (1 - b1^t)
  T inverse;    // 1 / sqrt(1 - b2^t)
  T epsilon;
};

template <typename T>
SWITCHYARD_INLINE void updateLoop(T* __restrict p, const T* __restrict g, T* __restrict m, T* __restrict v,
                                  const Factors<T>& f, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const T gradient = g[i] * f.gradient;
    m[i] = f.beta1 * m[i] + (T(1) - f.beta1) * gradient;
    v[i] = f.beta2 * v[i] + (T(1) - f.beta2) * gradient * gradient;
    p[i] = f.decay * p[i] - f.rate * m[i] / (std::sqrt(v[i]) * f.inverse + f.epsilon);
  }
}

SWITCHYARD_VECTORIZED
void update(float* p, const float* g, float* m, float* v, const Factors<float>& f, int64_t count) {
  updateLoop(p, g, m, v, f, count);
}

void update(double* p, const double* g, double* m, double* v, const Factors<double>& f, int64_t count) {
  updateLoop(p, g, m, v, f, count);
}

template <typename T>
SWITCHYARD_INLINE double squareLoop(const T* __restrict x, int64_t count) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; i++) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

SWITCHYARD_VECTORIZED
double sumOfSquares(const float* x, int64_t count) { return squareLoop(x, count); }

double sumOfSquares(const double* x, int64_t count) { return squareLoop(x, count); }

}  // namespace

void adamW(at::TensorList parameters, at::TensorList gradients, at::TensorList means, at::TensorList squares,
           const AdamWSettings& settings) {
  TORCH_CHECK(parameters.size() == gradients.size() && parameters.size() == means.size() &&
                  parameters.size() == squares.size(),
              "parameters, gradients and moments differ in number");
  if (parameters.empty()) return;
  std::vector<at::Tensor> packed;
  for (size_t i = 0; i < parameters.size(); i++) {
    const at::Tensor& parameter = parameters[i];
    TORCH_CHECK(parameter.is_contiguous() && parameter.scalar_type() == parameters[0].scalar_type(), "parameter ", i,
                " must be contiguous and of the dtype of the others");
    for (const at::Tensor& other : {gradients[i], means[i], squares[i]}) {
      TORCH_CHECK(parameter.is_cpu() && other.is_cpu() && other.sizes() == parameter.sizes() &&
                      other.scalar_type() == parameter.scalar_type(),
                  "gradient and moments of parameter ", i, " must be like it, on the cpu");
    }
    TORCH_CHECK(means[i].is_contiguous() && squares[i].is_contiguous(), "moments of parameter ", i,
                " must be contiguous");
    packed.push_back(gradients[i].contiguous());
    // Written behind autograd's back: whoever saved the old values must notice.
    for (const at::Tensor& written : {parameter, means[i], squares[i]}) written.unsafeGetTensorImpl()->bump_version();
  }
  const double step = static_cast<double>(settings.step);
  const std::vector<Piece> pieces = cut(parameters);
  AT_DISPATCH_FLOATING_TYPES(parameters[0].scalar_type(), "switchyard::adamw_", [&] {
    const Factors<scalar_t> factors{
        static_cast<scalar_t>(1 - settings.learningRate * settings.weightDecay),
        static_cast<scalar_t>(settings.gradientFactor),
        static_cast<scalar_t>(settings.beta1),
        static_cast<scalar_t>(settings.beta2),
        static_cast<scalar_t>(settings.learningRate / (1 - std::pow(settings.beta1, step))),
        static_cast<scalar_t>(1 / std::sqrt(1 - std::pow(settings.beta2, step))),
        static_cast<scalar_t>(settings.epsilon),
    };
    parallelRange(pieces.size(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const auto [tensor, from, count] = pieces[i];
        update(parameters[tensor].data_ptr<scalar_t>() + from, packed[tensor].data_ptr<scalar_t>() + from,
               means[tensor].data_ptr<scalar_t>() + from, squares[tensor].data_ptr<scalar_t>() + from, factors, count);
      }
    });
  });
}

double vectorNorm(at::TensorList tensors) {
  std::vector<at::Tensor> packed;
  for (const at::Tensor& tensor : tensors) {
    TORCH_CHECK(tensor.is_cpu(), "tensors must be on the cpu");
    packed.push_back(tensor.contiguous());
  }
  const std::vector<Piece> pieces = cut(packed);
  std::vector<double> sums(pieces.size());
  parallelRange(pieces.size(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const auto [tensor, from, count] = pieces[i];
      AT_DISPATCH_FLOATING_TYPES(packed[tensor].scalar_type(), "switchyard::vector_norm", [&, from = from, count = count, tensor = tensor] {
        sums[i] = sumOfSquares(packed[tensor].data_ptr<scalar_t>() + from, count);
      });
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

}  // namespace switchyard

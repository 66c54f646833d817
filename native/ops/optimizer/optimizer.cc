#include "optimizer.h"

#include <ATen/Dispatch.h>

#include <cmath>
#include <vector>

#include "../common/parallel.h"
#include "../common/scratch.h"
#include "adamw_rows.h"
#include "pieces.h"

namespace switchyard {
namespace {

double squaresOf(const at::Tensor& tensor, const Piece& piece) {
  if (tensor.scalar_type() == at::kDouble) return sumOfSquares(tensor.data_ptr<double>() + piece.begin, piece.count);
  Scratch scratch;
  return sumOfSquares(wide(tensor, piece, scratch.take<float>(kPiece)), piece.count);
}

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
    const AdamWFactors<scalar_t> factors{
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
        adamWRow(parameters[tensor].data_ptr<scalar_t>() + from, packed[tensor].data_ptr<scalar_t>() + from,
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
    for (int64_t i = begin; i < end; i++) sums[i] = squaresOf(packed[pieces[i].tensor], pieces[i]);
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

}  // namespace switchyard

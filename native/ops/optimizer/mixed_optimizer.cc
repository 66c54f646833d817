// AdamW where weights, gradients and moments differ in type: weights that are kept in half precision, with or without an f32
// master copy. Everything that changes from step to step comes in a tensor, so that a captured step can be given new rates.

#include <ATen/ops/scalar_tensor.h>
#include <torch/library.h>

#include <cmath>

#include "../common/elementwise.h"
#include "../common/parallel.h"
#include "../common/scratch.h"
#include "adamw_rows.h"
#include "optimizer.h"
#include "pieces.h"
#include "stochastic_rounding.h"

namespace switchyard {
namespace {

/** What adamw_mixed_ is told in a tensor, so that a captured step can be given new rates. */
struct MixedSettings {
  float decay, beta1, beta2, rate, inverseRoot, epsilon, inverseScale;
  uint32_t step;
};

MixedSettings readSettings(const at::Tensor& settings) {
  TORCH_CHECK(settings.numel() == 8 && settings.scalar_type() == at::kFloat, "settings must be f32 [8]");
  const at::Tensor host = settings.contiguous();
  const float* s = host.data_ptr<float>();
  return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], static_cast<uint32_t>(s[7])};
}

/** Rounds to nearest. */
void store(const float* values, const at::Tensor& into, const Piece& piece) {
  switch (into.scalar_type()) {
    case at::kBFloat16:
      return narrowRow(values, into.data_ptr<c10::BFloat16>() + piece.begin, piece.count);
    case at::kHalf:
      return narrowRow(values, into.data_ptr<c10::Half>() + piece.begin, piece.count);
    default:
      return narrowRow(values, into.data_ptr<float>() + piece.begin, piece.count);
  }
}

/** The same, but to bf16 by chance, with the bits from `shift` on. */
void storeByChance(const float* values, const at::Tensor& into, const Piece& piece, uint32_t step, int shift) {
  if (into.scalar_type() != at::kBFloat16) return store(values, into, piece);
  auto* rounded = reinterpret_cast<uint16_t*>(into.data_ptr<c10::BFloat16>());
  for (int64_t i = 0; i < piece.count; i++) {
    const int64_t element = piece.begin + i;
    rounded[element] = stochasticBfloat16(values[i], elementBits(step, piece.tensor, element) >> shift);
  }
}

/** Contiguous gradients. */
std::vector<at::Tensor> packed(at::TensorList gradients) {
  std::vector<at::Tensor> packed;
  for (const at::Tensor& gradient : gradients) packed.push_back(gradient.contiguous());
  return packed;
}

/** Written behind autograd's back: whoever saved the old values must notice. */
void willWrite(at::TensorList tensors, at::TensorList like) {
  TORCH_CHECK(tensors.size() == like.size(), "parameters, gradients, moments and masters differ in number");
  for (size_t i = 0; i < tensors.size(); i++) {
    TORCH_CHECK(tensors[i].is_contiguous() && tensors[i].sizes() == like[i].sizes(), "tensors of parameter ", i,
                " must be contiguous and like it");
    tensors[i].unsafeGetTensorImpl()->bump_version();
  }
}

void adamWMixedCpu(at::TensorList parameters, at::TensorList gradients, at::TensorList means, at::TensorList squares,
                   at::TensorList masters, const at::Tensor& settings, const at::Tensor& norm, double clip) {
  const MixedSettings s = readSettings(settings);
  const float size = norm.item<float>();
  if (!std::isfinite(size)) return;
  const float shrink = clip > 0 ? static_cast<float>(clip) / (size * s.inverseScale + 1e-6f) : 1.0f;
  const AdamWFactors<float> factors{s.decay, s.inverseScale * std::min(1.0f, shrink), s.beta1,  s.beta2,
                                    s.rate,  s.inverseRoot,                           s.epsilon};
  const bool mastered = !masters.empty();
  for (const at::TensorList written : {parameters, means, squares, mastered ? masters : parameters}) {
    willWrite(written, parameters);
  }
  const std::vector<at::Tensor> given = packed(gradients);
  const std::vector<Piece> pieces = cut(parameters);
  parallelRange(pieces.size(), 1, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    float* const copies[] = {scratch.take<float>(kPiece), scratch.take<float>(kPiece), scratch.take<float>(kPiece),
                             scratch.take<float>(kPiece)};
    for (int64_t i = begin; i < end; i++) {
      const Piece& piece = pieces[i];
      const size_t t = piece.tensor;
      float* const p = wide(mastered ? masters[t] : parameters[t], piece, copies[0]);
      float* const m = wide(means[t], piece, copies[1]);
      float* const v = wide(squares[t], piece, copies[2]);
      adamWRow(p, wide(given[t], piece, copies[3]), m, v, factors, piece.count);
      mastered ? store(p, parameters[t], piece) : storeByChance(p, parameters[t], piece, s.step, 0);
      store(m, means[t], piece);
      storeByChance(v, squares[t], piece, s.step, 16);
    }
  });
}

at::Tensor gradientNormCpu(at::TensorList gradients) {
  return at::scalar_tensor(vectorNorm(gradients), at::TensorOptions(at::kFloat));
}

}  // namespace

TORCH_LIBRARY_IMPL(switchyard, CPU, library) {
  library.impl("adamw_mixed_", &adamWMixedCpu);
  library.impl("gradient_norm", &gradientNormCpu);
}

}  // namespace switchyard

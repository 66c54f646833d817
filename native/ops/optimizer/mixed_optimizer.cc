// AdamW where weights, gradients and moments differ in type: weights that are kept in half precision, with or without an f32
// master copy. Everything that changes from step to step comes in a tensor, so that a captured step can be given new rates.

#include <ATen/Functions.h>
#include <torch/library.h>

#include <cmath>

#include "../common/accumulator.h"
#include "optimizer.h"
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

/** Writes f32 values into a tensor of its own type; into bf16 by chance, if `stochastic`, with the bits from `shift` on. */
void store(const at::Tensor& values, const at::Tensor& into, bool stochastic, uint32_t step, uint32_t index, int shift) {
  if (!stochastic || into.scalar_type() != at::kBFloat16) {
    into.copy_(values);
    return;
  }
  const float* value = values.data_ptr<float>();
  auto* rounded = static_cast<uint16_t*>(into.data_ptr());
  for (int64_t i = 0; i < values.numel(); i++) {
    rounded[i] = stochasticBfloat16(value[i], elementBits(step, index, i) >> shift);
  }
}

void adamWMixedCpu(at::TensorList parameters, at::TensorList gradients, at::TensorList means, at::TensorList squares,
                   at::TensorList masters, const at::Tensor& settings, const at::Tensor& norm, double clip) {
  const MixedSettings s = readSettings(settings);
  const float size = norm.item<float>();
  if (!std::isfinite(size)) return;
  const float shrink = clip > 0 ? static_cast<float>(clip) / (size * s.inverseScale + 1e-6f) : 1.0f;
  const float factor = s.inverseScale * std::min(1.0f, shrink);
  for (size_t t = 0; t < parameters.size(); t++) {
    const bool mastered = !masters.empty();
    const at::Tensor p = (mastered ? masters[t] : parameters[t]).to(at::kFloat).clone();
    const at::Tensor m = means[t].to(at::kFloat).clone(), v = squares[t].to(at::kFloat).clone();
    const at::Tensor g = gradients[t].contiguous().to(at::kFloat).mul(factor);
    m.mul_(s.beta1).add_(g, 1 - s.beta1);
    v.mul_(s.beta2).addcmul_(g, g, 1 - s.beta2);
    p.mul_(s.decay).addcdiv_(m, v.sqrt().mul_(s.inverseRoot).add_(s.epsilon), -s.rate);
    if (mastered) masters[t].copy_(p);
    store(p, parameters[t], !mastered, s.step, t, 0);
    store(m, means[t], false, s.step, t, 0);
    store(v, squares[t], true, s.step, t, 16);
  }
}

at::Tensor gradientNormCpu(at::TensorList gradients) {
  std::vector<at::Tensor> wide;
  for (const at::Tensor& gradient : gradients) wide.push_back(gradient.to(accumulatorOf(gradient)));
  return at::scalar_tensor(vectorNorm(wide), at::TensorOptions(at::kFloat));
}

}  // namespace

TORCH_LIBRARY_IMPL(switchyard, CPU, library) {
  library.impl("adamw_mixed_", &adamWMixedCpu);
  library.impl("gradient_norm", &gradientNormCpu);
}

}  // namespace switchyard

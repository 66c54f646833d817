// The optimizer's operators on the device: see mixed_optimizer.cc, the CPU's.

#include <ATen/ops/empty.h>

#include <map>
#include <utility>

#include "../common/device_operators.h"
#include "optimizer_launch.h"

namespace switchyard::cuda {
namespace {

void checkLike(const at::Tensor& tensor, const at::Tensor& parameter, const char* name, at::ScalarType type) {
  require(tensor, parameter, {name, type, parameter.sizes().vec()});
}

void checkLists(at::TensorList parameters, at::TensorList gradients, at::TensorList means, at::TensorList squares,
                at::TensorList masters) {
  const size_t count = parameters.size();
  TORCH_CHECK(gradients.size() == count && means.size() == count && squares.size() == count &&
                  (masters.empty() || masters.size() == count),
              "parameters, gradients, moments and masters differ in number");
  for (size_t i = 0; i < count; i++) {
    const at::Tensor& parameter = parameters[i];
    const at::ScalarType type = gradients[i].scalar_type(), moment = means[0].scalar_type();
    checkLike(gradients[i], parameter, "a gradient", type == at::kFloat ? type : parameter.scalar_type());
    TORCH_CHECK(moment == at::kFloat || moment == at::kBFloat16, "moments must be f32 or bf16, got ", dtypeName(moment));
    checkLike(means[i], parameter, "a moment", moment);
    checkLike(squares[i], parameter, "a moment", moment);
    if (!masters.empty()) checkLike(masters[i], parameter, "a master", at::kFloat);
  }
}

/** Tensors alike in type, by the types of parameter and gradient. */
using AdamWGroups = std::map<std::pair<Element, Element>, AdamW>;

void adamWMixed(at::TensorList parameters, at::TensorList gradients, at::TensorList means, at::TensorList squares,
                at::TensorList masters, const at::Tensor& settings, const at::Tensor& norm, double clip) {
  checkLists(parameters, gradients, means, squares, masters);
  if (parameters.empty()) return;
  require(settings, parameters[0], {"settings", at::kFloat, {8}});
  require(norm, parameters[0], {"norm", at::kFloat, {}});
  const OnDevice device(parameters[0]);
  const at::Tensor packedSettings = settings.contiguous();
  std::vector<at::Tensor> packed;
  AdamWGroups groups;
  for (size_t i = 0; i < parameters.size(); i++) {
    packed.push_back(gradients[i].contiguous());
    beginWriting(parameters[i], "a parameter");
    beginWriting(means[i], "a moment");
    beginWriting(squares[i], "a moment");
    if (!masters.empty()) beginWriting(masters[i], "a master");
    const Element type = elementOf(parameters[i], "a parameter"), gradient = elementOf(gradients[i], "a gradient");
    AdamW& group = groups[{type, gradient}];
    group.parameter = type;
    group.gradient = gradient;
    group.moment = elementOf(means[i], "a moment");
    group.tensors.push_back({parameters[i].data_ptr(), packed[i].data_ptr(), means[i].data_ptr(),
                             squares[i].data_ptr(), masters.empty() ? nullptr : masters[i].data_ptr<float>(),
                             parameters[i].numel(), static_cast<uint32_t>(i)});
  }
  for (auto& entry : groups) {
    AdamW& group = entry.second;
    group.settings = packedSettings.data_ptr<float>();
    group.norm = norm.data_ptr<float>();
    group.clip = static_cast<float>(clip);
    launchAdamW(group, device.stream());
  }
}

at::Tensor gradientNorm(at::TensorList gradients) {
  TORCH_CHECK(!gradients.empty(), "there are no gradients to take the norm of");
  const OnDevice device(gradients[0]);
  std::vector<at::Tensor> packed;
  std::map<Element, std::vector<NormTensor>> groups;
  int64_t count = 0;
  for (const at::Tensor& gradient : gradients) {
    TORCH_CHECK(gradient.device() == gradients[0].device(), "gradients are on ", gradients[0].device(), " and ",
                gradient.device());
    packed.push_back(gradient.contiguous());
    groups[elementOf(gradient, "a gradient")].push_back({packed.back().data_ptr(), gradient.numel()});
  }
  for (const auto& group : groups) count += squareSums(group.second);
  at::Tensor sums = at::empty({count}, optionsOf(gradients[0], at::kDouble));
  at::Tensor norm = at::empty({}, optionsOf(gradients[0], at::kFloat));
  double* next = sums.data_ptr<double>();
  for (const auto& group : groups) {
    launchSquares(group.first, group.second, next, device.stream());
    next += squareSums(group.second);
  }
  launchNorm(sums.data_ptr<double>(), count, norm.data_ptr<float>(), device.stream());
  return norm;
}

}  // namespace

SWITCHYARD_DEVICE_OPERATORS(library) {
  library.impl("adamw_mixed_", &adamWMixed);
  library.impl("gradient_norm", &gradientNorm);
}

}  // namespace switchyard::cuda

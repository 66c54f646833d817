// libtorch's own grouped product where it has one (2.8 on, bf16 on CUDA; from 2.11 on a CPU too), else a loop over experts.

#include "grouped_product.h"

#include <ATen/Functions.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <limits>

#include "../common/leaf.h"
#include "leaves.h"

namespace switchyard {
namespace {

using GroupedMm = at::Tensor(const at::Tensor&, const at::Tensor&, const OptionalTensor&, const OptionalTensor&,
                             c10::optional<at::ScalarType>);

/** aten::_grouped_mm, or null in a libtorch without it. */
const c10::TypedOperatorHandle<GroupedMm>* groupedMm() {
  static const auto op = [] {
    const auto found = c10::Dispatcher::singleton().findSchema({"aten::_grouped_mm", ""});
    return found ? c10::optional<c10::TypedOperatorHandle<GroupedMm>>(found->typed<GroupedMm>()) : c10::nullopt;
  }();
  return op ? &*op : nullptr;
}

/** Rows of more numbers than 32 bits count lead it astray (pytorch/torchtitan#1932). */
constexpr int64_t kMostNumbers = std::numeric_limits<int32_t>::max();

/** What a kernel of one block prepares. */
constexpr int64_t kMostGroups = 1023;

/** Both operands in bf16, with rows at multiples of 16 bytes: what it computes without waiting for the device. */
bool isGroupable(const at::Tensor& a, const at::Tensor& b, const Groups& groups) {
  const auto fits = [](const at::Tensor& tensor) {
    bool aligned = reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 16 == 0;
    for (const int64_t stride : tensor.strides()) aligned = aligned && (stride == 1 || stride % 8 == 0);
    const bool addressable = tensor.dim() == 3 || tensor.numel() <= kMostNumbers;
    return aligned && addressable && tensor.scalar_type() == at::kBFloat16 && tensor.numel() > 0;
  };
  return groupedMm() != nullptr && groups.ends().numel() <= kMostGroups && fits(a) && fits(b);
}

}  // namespace

const std::vector<int64_t>& Groups::offsets() {
  if (offsets_.empty()) {
    const at::Tensor host = ends_.cpu();
    offsets_.push_back(0);
    for (int64_t e = 0; e < host.numel(); e++) offsets_.push_back(host.data_ptr<int32_t>()[e]);
  }
  return offsets_;
}

at::Tensor groupedProduct(const at::Tensor& x, const at::Tensor& matrices, Groups& groups) {
  if (isGroupable(x, matrices, groups) && x.size(0) * matrices.size(2) <= kMostNumbers)
    return groupedMm()->call(x, matrices, groups.ends(), c10::nullopt, c10::nullopt);
  const std::vector<int64_t>& offsets = groups.offsets();
  at::Tensor y = at::empty({x.size(0), matrices.size(2)}, x.options());
  for (int64_t e = 0; e < matrices.size(0); e++) {
    const int64_t begin = offsets[e], count = offsets[e + 1] - begin;
    if (count == 0) continue;
    at::Tensor rows = y.narrow(0, begin, count);
    at::mm_out(rows, x.narrow(0, begin, count), matrices.select(0, e));
  }
  return y;
}

at::Tensor groupedOuterProduct(const at::Tensor& a, const at::Tensor& b, Groups& groups) {
  if (isGroupable(a, b, groups)) {
    const at::Tensor products = groupedMm()->call(a.t(), b, groups.ends(), c10::nullopt, c10::nullopt);
    leaf::zeroEmptyGroups(products, groups.ends());
    return products;
  }
  const std::vector<int64_t>& offsets = groups.offsets();
  const int64_t experts = groups.ends().numel();
  at::Tensor products = at::empty({experts, a.size(1), b.size(1)}, a.options());
  for (int64_t e = 0; e < experts; e++) {
    const int64_t begin = offsets[e], count = offsets[e + 1] - begin;
    at::Tensor product = products.select(0, e);
    at::mm_out(product, a.narrow(0, begin, count).t(), b.narrow(0, begin, count));
  }
  return products;
}

}  // namespace switchyard

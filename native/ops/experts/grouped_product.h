// Products of groups of rows, each with its expert's own matrix.
// Shapes: E experts, N rows in the order of experts.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace switchyard {

/** Where the rows of each expert end. They stay on the device unless somebody asks for them here. */
class Groups {
 public:
  /** @param ends i32 [E], cumulative */
  explicit Groups(at::Tensor ends) : ends_(std::move(ends)) {}

  const at::Tensor& ends() const { return ends_; }
  /** [E + 1], on the host: waits for the device. */
  const std::vector<int64_t>& offsets();

 private:
  at::Tensor ends_;
  std::vector<int64_t> offsets_;
};

/** `y_i = x_i m_e(i)`: [N, P] and [E, P, Q] -> [N, Q]; rows of no group are not defined. */
at::Tensor groupedProduct(const at::Tensor& x, const at::Tensor& matrices, Groups& groups);

/** `G_e = sum over e's rows of a_i^T b_i`: [N, P] and [N, Q] -> [E, P, Q], zero for experts without rows. */
at::Tensor groupedOuterProduct(const at::Tensor& a, const at::Tensor& b, Groups& groups);

}  // namespace switchyard

// Layers that compute from encoded weights, on the CPU, without gradients.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace switchyard {

/**
 * Rows u8 [..., O, bytes] of a GGUF type in panels, whose type has the same name with x16.
 *
 * @param panels u8 [..., O rounded up to 16, bytes], perhaps a part of larger matrices
 */
void encodedPanelsInto(const at::Tensor& rows, const std::string& type, at::Tensor& panels);

/**
 * `x W^T + b`.
 *
 * @param x f32 [N, I]
 * @param rows u8 [O, bytes], of type `type`; O rounded up in panels
 * @param bias f32 [O]
 * @returns f32 [N, O]
 */
at::Tensor encodedLinear(const at::Tensor& x, const at::Tensor& rows, const std::string& type, int64_t outputs,
                         const c10::optional<at::Tensor>& bias);

/** Rows of a table in f32: u8 [R, bytes], i64 [N] -> [N, columns]. */
at::Tensor encodedRows(const at::Tensor& rows, const std::string& type, const at::Tensor& indices);

struct EncodedExperts {
  at::Tensor up;  // u8 [E, W, bytes]: gate rows first when gated, W = 2F, else F
  std::string upType;
  at::Tensor down;  // u8 [E, D, bytes]
  std::string downType;
  std::string activation;  // or clamped: see activateClamped()
  bool gated;
  double limit;                    // of clamped ones
  c10::optional<at::Tensor> upBias;    // f32 [E, W]
  c10::optional<at::Tensor> downBias;  // f32 [E, D]
};

/** Which expert each token chose, and where its matrices are: i64 [T, K] both; -1: nowhere. */
struct ChosenExperts {
  at::Tensor indices;  // among the biases
  at::Tensor places;   // among the matrices
};

/**
 * The outputs of experts before they are weighed and summed: `rows[t, k] = expert_{indices[t, k]}(x_t)`, where there is a
 * place; what lies elsewhere in `rows` f32 [T, K, D] stays.
 */
void encodedExpertRows(const at::Tensor& x, const ChosenExperts& chosen, const EncodedExperts& experts, at::Tensor& rows);

/** `y_t = sum_k weights[t, k] rows[t, k]` over choices that are not -1: as encodedExperts() sums, to the bit. */
at::Tensor sumChoices(const at::Tensor& rows, const at::Tensor& indices, const at::Tensor& weights);

/** See expertsForward(): x f32 [T, D], chosen i64 [T, K], weights f32 [T, K] -> [T, D]. */
at::Tensor encodedExperts(const at::Tensor& x, const ChosenExperts& chosen, const at::Tensor& weights,
                          const EncodedExperts& experts);

}  // namespace switchyard

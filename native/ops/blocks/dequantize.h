// Quantized blocks to f32, and f32 to blocks: the fast twins of src/formats/quantization.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Optional.h>

#include <string>

namespace switchyard {

/** Whole blocks of a GGUF type, u8 [bytes], as f32 [values]. */
at::Tensor dequantize(const at::Tensor& bytes, const std::string& type);

/**
 * f32 [values] as whole blocks of a GGUF type, u8 [bytes]. Values must be finite. Importance, f32 [columns], is how much
 * the squared error of each column counts in rows of so many values.
 */
at::Tensor quantize(const at::Tensor& values, const std::string& type,
                    const c10::optional<at::Tensor>& importance = {});

/** gpt-oss's MXFP4: u8 [..., 16] blocks, of which byte b holds numbers 2b and 2b + 1, and u8 [...] scales, as f32 [..., 32]. */
at::Tensor dequantizePairs(const at::Tensor& blocks, const at::Tensor& scales);

/** DeepSeek-V3's FP8: E4M3 as u8 [R, C], and a scale for each 128 by 128 of them, as f32 [R, C]. */
at::Tensor dequantizeFloat8(const at::Tensor& bytes, const at::Tensor& scales);

}  // namespace switchyard

// What launch functions are declared with. No CUDA and no torch headers: both sides include it.
#pragma once

#include <cstdint>

using cudaStream_t = struct CUstream_st*;  // as CUDA declares it

namespace switchyard::cuda {

/** Types of elements in memory; arithmetic and sums are f32 for all of them. */
enum class Element { F32, F16, BF16 };

}  // namespace switchyard::cuda

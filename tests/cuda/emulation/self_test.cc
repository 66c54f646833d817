// Kernels that are right and wrong, to show that tests by emulation can tell.

#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include "../../../native/ops/common/device.cuh"

namespace {

/** Every value goes through shared memory to the thread at the other end, which must not read before it is there. */
void reverse(const int32_t* from, int32_t* to, bool barrier) {
  int32_t* values = switchyard::cuda::sharedArray<int32_t, 64, struct Reversed>();
  values[threadIdx.x] = from[threadIdx.x];
  if (barrier) __syncthreads();
  to[threadIdx.x] = values[63 - threadIdx.x];
}

/** The same by the warp's own means: thread i takes what thread 31 - i has. */
void reverseWarps(const int32_t* from, int32_t* to) {
  to[threadIdx.x] = __shfl_xor_sync(0xffffffffu, from[threadIdx.x], 31);
}

void lonelyBarrier() {
  if (threadIdx.x == 0) __syncthreads();
}

at::Tensor reversed(const at::Tensor& values, bool barrier) {
  TORCH_CHECK(values.numel() == 64 && values.scalar_type() == at::kInt, "values must be i32 [64]");
  at::Tensor result = at::empty_like(values);
  const auto* from = values.data_ptr<int32_t>();
  auto* to = result.data_ptr<int32_t>();
  emulation::run(1, 64, 0, [=] { reverse(from, to, barrier); });
  return result;
}

at::Tensor reversedWarps(const at::Tensor& values) {
  at::Tensor result = at::empty_like(values);
  const auto* from = values.data_ptr<int32_t>();
  auto* to = result.data_ptr<int32_t>();
  emulation::run(1, 64, 0, [=] { reverseWarps(from, to); });
  return result;
}

void deadlock() { emulation::run(1, 64, 0, lonelyBarrier); }

/** f32 to one of the 16-bit types, as raw bits. */
at::Tensor rounded(const at::Tensor& values, bool half) {
  at::Tensor bits = at::empty_like(values, values.options().dtype(at::kInt));
  const float* from = values.data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); i++) {
    bits.data_ptr<int32_t>()[i] = half ? __float2half_rn(from[i]).bits : __float2bfloat16_rn(from[i]).bits;
  }
  return bits;
}

/** The 16-bit numbers with these bits, in f32. */
at::Tensor widened(const at::Tensor& bits, bool half) {
  at::Tensor values = at::empty_like(bits, bits.options().dtype(at::kFloat));
  const auto* from = bits.data_ptr<int32_t>();
  for (int64_t i = 0; i < bits.numel(); i++) {
    const auto sixteen = static_cast<uint16_t>(from[i]);
    values.data_ptr<float>()[i] = half ? __half2float({sixteen}) : __bfloat162float({sixteen});
  }
  return values;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard_emulated, library) {
  library.def("reversed(Tensor values, bool barrier) -> Tensor", &reversed);
  library.def("reversed_warps(Tensor values) -> Tensor", &reversedWarps);
  library.def("deadlock() -> ()", &deadlock);
  library.def("rounded(Tensor values, bool half) -> Tensor", &rounded);
  library.def("widened(Tensor bits, bool half) -> Tensor", &widened);
}

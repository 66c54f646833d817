// An event of CUDA. libtorch's header of its own one includes those of cuBLAS, cuSPARSE and cuSOLVER, which a machine that
// compiles kernels need not have.
#pragma once

#include <cuda_runtime_api.h>

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace switchyard {

/** A point behind the work of a stream. */
class CudaEvent {
 public:
  explicit CudaEvent(bool timed) : flags_(timed ? cudaEventDefault : cudaEventDisableTiming) {}

  ~CudaEvent() {
    if (event_ != nullptr) cudaEventDestroy(event_);  // an error here comes after the last that mattered
  }

  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  /** Behind what the stream was given so far. */
  void record(const c10::cuda::CUDAStream& stream) {
    const c10::cuda::CUDAGuard guard(stream.device_index());
    if (event_ == nullptr) C10_CUDA_CHECK(cudaEventCreateWithFlags(&event_, flags_));
    C10_CUDA_CHECK(cudaEventRecord(event_, stream));
  }

  /** What the stream is given from now on waits; the host does not. */
  void block(const c10::cuda::CUDAStream& stream) const {
    const c10::cuda::CUDAGuard guard(stream.device_index());
    C10_CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0));
  }

  bool isDone() const {
    const cudaError_t status = cudaEventQuery(event_);
    if (status != cudaErrorNotReady) C10_CUDA_CHECK(status);
    cudaGetLastError();  // not ready is no error
    return status == cudaSuccess;
  }

  /** The host waits. */
  void wait() const { C10_CUDA_CHECK(cudaEventSynchronize(event_)); }

  /** From an earlier event, for which the host waits; both are timed. */
  double millisecondsSince(const CudaEvent& earlier) const {
    wait();
    float milliseconds = 0;
    C10_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, earlier.event_, event_));
    return milliseconds;
  }

 private:
  unsigned flags_;
  cudaEvent_t event_ = nullptr;
};

}  // namespace switchyard

// CUDA beside tensors: memory, streams, graphs, uploads.

export { type CopyCounts, CopyLane, type CopyLaneOptions, stagingBytes, type Upload } from './copy-lane.ts'
export { type CopyMark, type CopyQueue, copyQueue } from './copy-queue.ts'
export {
  availableCudaMemory,
  type CudaDevice,
  type CudaMemory,
  cudaDevice,
  cudaMemory,
  emptyCudaCache,
  hasCudaRuntime,
  limitCudaMemory,
  requireDevice,
  resetPeakCudaMemory,
  synchronize,
} from './device.ts'
export { CudaGraph, NotReplayable, type Replay, replayable, warmups } from './graph.ts'
export { CudaEvent, CudaStream } from './stream.ts'

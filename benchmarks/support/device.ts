// The device's clock and memory, for contestants.

import { cudaMemory, memoryUse, synchronize } from '../../src/torch/index.ts'
import { device, isTiny } from './cuda.ts'

/** Waits until everything is computed. */
export const finish = (): void => synchronize(device as 'cuda')

/** Most bytes that tensors took on the device. */
export const peakBytes = (): number => (isTiny ? memoryUse().peakBytes : cudaMemory().peak)

/** Bytes that tensors take there now. */
export const allocatedBytes = (): number => (isTiny ? memoryUse().bytes : cudaMemory().allocated)

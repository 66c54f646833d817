// The CUDA device: what it is, and how its memory stands.

import { ConfigError } from '../../errors.ts'
import type { Device } from '../dtype.ts'
import { type NativeCuda, native } from '../native.ts'

/** The CUDA runtime. @throws ConfigError where there is none */
export function cuda(): NativeCuda {
  const { cuda: runtime, info } = native()
  if (!runtime) {
    throw new ConfigError(
      'the addon was built without CUDA: build it where nvcc is, with LIBTORCH naming a libtorch with CUDA (node scripts/build-native.mjs)',
      { path: 'device' },
    )
  }
  if (!info().cuda) throw new ConfigError('no CUDA device is there: see nvidia-smi', { path: 'device' })
  return runtime
}

/** Whether the addon was built with CUDA, beside a libtorch that has it. */
export const hasCudaRuntime = (): boolean => native().cuda !== undefined

/** @throws ConfigError when libtorch cannot compute there */
export function requireDevice(device: Device): Device {
  if (device === 'cpu' || native().info().cuda) return device
  throw new ConfigError(
    `${device} is not available: this libtorch finds no CUDA device; set device to cpu, or LIBTORCH to one with CUDA`,
    { path: 'device' },
  )
}

/** `cuda` is device 0. */
export function deviceNumber(device: Device): number {
  return device.includes(':') ? Number(device.split(':')[1]) : 0
}

export interface CudaDevice {
  name: string
  /** Bytes. */
  memory: number
  multiprocessors: number
  /** As in `9.0`. */
  capability: string
}

export function cudaDevice(device: Device = 'cuda'): CudaDevice {
  return cuda().properties(deviceNumber(device))
}

/** Bytes. */
export interface CudaMemory {
  /** Held by tensors, of this process. */
  allocated: number
  /** The most that was, since the process began or resetPeakCudaMemory(). */
  peak: number
  /** Taken from the device: what tensors hold, and what the allocator keeps for the next ones. */
  reserved: number
  /** Free on the device, for any process. */
  free: number
  total: number
}

export function cudaMemory(device: Device = 'cuda'): CudaMemory {
  return cuda().memory(deviceNumber(device))
}

/** Bytes that new tensors can take: what is free, and what the allocator keeps. */
export function availableCudaMemory(device: Device = 'cuda'): number {
  const { free, reserved, allocated } = cudaMemory(device)
  return free + reserved - allocated
}

export function resetPeakCudaMemory(device: Device = 'cuda'): void {
  cuda().resetPeak(deviceNumber(device))
}

/** Gives what the allocator keeps back to the device, for other processes. */
export function emptyCudaCache(): void {
  cuda().emptyCache()
}

/** Refuses tensors beyond a share of the device's memory, 0 to 1, in this process. */
export function limitCudaMemory(share: number, device: Device = 'cuda'): void {
  if (!(share > 0 && share <= 1)) {
    throw new ConfigError(`must be above 0 and at most 1, got ${share}: it is a share of the memory`, {
      path: 'share',
    })
  }
  cuda().limitMemory(share, deviceNumber(device))
}

/** Waits until everything that was started is computed; on a CPU it is. */
export function synchronize(device: Device): void {
  if (device !== 'cpu') cuda().synchronize(deviceNumber(device))
}

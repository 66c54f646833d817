// Where the time of a computation goes, by operator.

import type { Device } from './dtype.ts'
import { native, type OperatorTime } from './native.ts'

/**
 * Runs `body` and says what each operator took, longest first; those of autograd's way back are among them. With a CUDA
 * device, events around every operator give its time there: the body takes longer than it would alone.
 *
 * @param device where the time counts; default cpu
 */
export function profile(body: () => void, device: Device = 'cpu'): OperatorTime[] {
  const onDevice = device !== 'cpu'
  const seconds = ({ hostSeconds, deviceSeconds }: OperatorTime): number =>
    onDevice ? deviceSeconds : hostSeconds
  return native()
    .profile(body, onDevice)
    .sort((a, b) => seconds(b) - seconds(a))
}

// Files as tensors, without reading them: pages come from the disk when they are touched.

import type { DType } from './dtype.ts'
import { native } from './native.ts'
import { Tensor } from './tensor.ts'

/**
 * A memory-mapped file. Private: in-place operators change this process's copy of a page, never the file.
 *
 * Closing is safe at any time: the mapping lives until the last tensor on it is gone. The file must not be truncated
 * while it is mapped.
 */
export class MappedFile {
  readonly path: string
  /** Length in bytes. */
  readonly size: number
  readonly #id: number

  constructor(path: string) {
    const { id, size } = native().mapFile(path)
    this.path = path
    this.size = size
    this.#id = id
  }

  /**
   * A tensor on the bytes from `offset` on. Copied only when `offset` is not a multiple of the element size.
   *
   * @throws TorchError when the bytes lie outside of the file
   */
  tensor(offset: number, shape: readonly number[], dtype: DType): Tensor {
    return new Tensor(native().mappedTensor(this.#id, offset, shape, dtype))
  }

  /**
   * Gives back the memory of what was read so far; it is read again when it is touched. Only before anything was written
   * to a tensor on the file, which would be undone.
   */
  forgetPages(): void {
    native().forgetPages(this.#id)
  }

  close(): void {
    native().unmapFile(this.#id)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** Maps a file into memory. Throws when it cannot be opened or is not a regular file. */
export function mapFile(path: string): MappedFile {
  return new MappedFile(path)
}

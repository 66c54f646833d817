import { describe, expect, test } from 'vitest'
import type { Machine } from '../torch/index.ts'
import { adviceFor } from './advice.ts'

const healthy: Machine = {
  processor: 'AMD EPYC',
  cores: 2,
  extensions: ['avx2', 'fma', 'avx512f'],
  memory: { total: 25e9, available: 24e9 },
  libtorch: { version: '1.13.0', blas: 'OpenBLAS 0.3.21 Zen', cuda: false },
  threads: { operators: 2, blas: 2 },
  gemm: 'onednn',
  simd: 'avx2',
  fastBf16: false,
  products: [
    { name: 'onednn f32', one: 90e9, all: 180e9 },
    { name: 'blas f32', one: 90e9, all: 175e9 },
  ],
  read: { name: 'read', one: 20e9, all: 40e9 },
  gpu: null,
  hasUnusedGpu: false,
}

describe('advice', () => {
  test('is none where nothing costs speed', () => {
    expect(adviceFor(healthy, {})).toEqual([])
  })

  test.each<[string, Partial<Machine>, NodeJS.ProcessEnv, RegExp]>([
    ['no BLAS', { libtorch: { version: '1', blas: 'reference', cuda: false } }, {}, /apt-get install/],
    [
      'a BLAS that does not know the processor',
      { products: healthy.products.map(rate => (rate.name === 'blas f32' ? { ...rate, all: 60e9 } : rate)) },
      {},
      /BLAS reaches 0\.33 of what oneDNN does.*OPENBLAS_CORETYPE=SkylakeX/,
    ],
    ['idle cores', { threads: { operators: 1, blas: 1 } }, {}, /1 threads on 2 cores: SWITCHYARD_THREADS=2/],
    ['a GPU beside a libtorch for CPUs', { hasUnusedGpu: true }, {}, /LIBTORCH naming one with CUDA/],
    ['bf16 in the processor', { fastBf16: true }, {}, /precision\.kind=auto/],
    ['kernels switched off', {}, { SWITCHYARD_KERNELS: 'none' }, /SWITCHYARD_KERNELS=none/],
    ['a choice made by hand', {}, { SWITCHYARD_GEMM: 'blas' }, /SWITCHYARD_GEMM=blas/],
  ])('speaks of %s', (_, change, environment, line) => {
    const advice = adviceFor({ ...healthy, ...change }, environment)
    expect(advice).toEqual([expect.stringMatching(line)])
  })
})

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { chooseGemm, gemmChoice } from '../torch/index.ts'
import { repeatGemm } from './repeatable.ts'

const initial = gemmChoice()
const run = temporaryFolder()
const recordOf = (libtorch: object): void =>
  writeFileSync(join(run, 'run.json'), JSON.stringify({ state: 'interrupted', libtorch }))

afterEach(() => {
  chooseGemm(initial)
  vi.unstubAllEnvs()
})

test('a run goes on with the library that it was trained with', () => {
  recordOf({ gemm: 'libtorch' })
  expect(repeatGemm(run)).toBeNull()
  expect(gemmChoice()).toBe('libtorch')
})

test('one from before choices were recorded goes on with BLAS', () => {
  recordOf({ version: '1.13.0' })
  chooseGemm('libtorch')
  expect([repeatGemm(run), gemmChoice()]).toEqual([null, 'blas'])
})

test('says so where this machine lacks the library', () => {
  recordOf({ gemm: 'mkl' })
  expect(repeatGemm(run)).toMatch(/computed by mkl, and are now by .* \(this machine lacks one of those\)/)
  expect(gemmChoice()).toBe(initial)
})

test('says so where SWITCHYARD_GEMM makes another choice, which holds', () => {
  recordOf({ gemm: 'libtorch' })
  vi.stubEnv('SWITCHYARD_GEMM', initial)
  expect(repeatGemm(run)).toMatch(/computed by libtorch, .* \(by SWITCHYARD_GEMM\)/)
  expect(gemmChoice()).toBe(initial)
})

test('a folder without a run, or with a damaged record, changes nothing', () => {
  expect(repeatGemm(join(run, 'none'))).toBeNull()
  writeFileSync(join(run, 'run.json'), '{"state":')
  expect(repeatGemm(run)).toBeNull()
  expect(gemmChoice()).toBe(initial)
})

// What a model folder may reach, and where downloads are found.

import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, expect, test, vi } from 'vitest'
import { cachedSnapshot, locateTensors, matchTensors, openSource } from './index.ts'

const fixture = fileURLToPath(new URL('../../tests/fixtures/mixtral', import.meta.url))
const scratch = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(scratch, { recursive: true }))
afterEach(() => vi.unstubAllEnvs())

function folder(name: string): string {
  const path = join(scratch, name)
  mkdirSync(path, { recursive: true })
  copyFileSync(join(fixture, 'config.json'), join(path, 'config.json'))
  return path
}

test('a link that leaves the folder is refused', () => {
  const model = folder('link')
  symlinkSync(join(fixture, 'model.safetensors'), join(model, 'model.safetensors'))
  expect(() => locateTensors(model)).toThrow("is a link that leaves the model's folder")
})

test('a link within the folder is followed', () => {
  const model = folder('inner')
  copyFileSync(join(fixture, 'model.safetensors'), join(model, 'weights'))
  symlinkSync('weights', join(model, 'model.safetensors'))
  expect(matchTensors(openSource(model)).length).toBeGreaterThan(0)
})

test('a shard that is a link out of the folder is refused', () => {
  const model = folder('shard')
  symlinkSync(join(fixture, 'model.safetensors'), join(model, 'a.safetensors'))
  const index = { weight_map: { x: 'a.safetensors' } }
  writeFileSync(join(model, 'model.safetensors.index.json'), JSON.stringify(index))
  expect(() => locateTensors(model)).toThrow("is a link that leaves the model's folder")
})

/** A download as huggingface_hub lays it out: files of a snapshot are links to blobs. */
function download(hub: string, name: string, revision: string): string {
  const repository = join(hub, `models--${name.replace('/', '--')}`)
  const snapshot = join(repository, 'snapshots', revision)
  mkdirSync(join(repository, 'blobs'), { recursive: true })
  mkdirSync(snapshot, { recursive: true })
  for (const file of ['config.json', 'model.safetensors']) {
    copyFileSync(join(fixture, file), join(repository, 'blobs', `${revision}-${file}`))
    symlinkSync(`../../blobs/${revision}-${file}`, join(snapshot, file))
  }
  return repository
}

test('a downloaded model is found by name, and its links to blobs are followed', () => {
  const hub = join(scratch, 'hub')
  const repository = download(hub, 'org/name', 'abc123')
  download(hub, 'org/name', 'def456')
  mkdirSync(join(repository, 'refs'))
  writeFileSync(join(repository, 'refs', 'main'), 'abc123\n')
  vi.stubEnv('HF_HUB_CACHE', hub)
  const snapshot = cachedSnapshot('org/name') as string
  expect(snapshot).toBe(join(repository, 'snapshots', 'abc123'))
  expect(matchTensors(openSource(snapshot)).length).toBeGreaterThan(0)
  expect(cachedSnapshot('org/other')).toBeUndefined()
  expect(cachedSnapshot('../../etc')).toBeUndefined()
  expect(cachedSnapshot('..%2f/x')).toBeUndefined()
})

test('a blob of another download is out of reach', () => {
  const hub = join(scratch, 'hub2')
  const repository = download(hub, 'org/mine', 'aaa')
  const other = download(hub, 'org/other', 'bbb')
  const snapshot = join(repository, 'snapshots', 'aaa')
  rmSync(join(snapshot, 'model.safetensors'))
  symlinkSync(join(other, 'blobs', 'bbb-model.safetensors'), join(snapshot, 'model.safetensors'))
  expect(() => locateTensors(snapshot)).toThrow("is a link that leaves the model's folder")
})

test('a config that promises more experts than there are tensors is refused before they are listed', () => {
  const model = folder('many')
  copyFileSync(join(fixture, 'model.safetensors'), join(model, 'model.safetensors'))
  const config = JSON.parse(readFileSync(join(fixture, 'config.json'), 'utf8')) as object
  const huge = { ...config, num_local_experts: 2 ** 20, num_hidden_layers: 10_000 }
  writeFileSync(join(model, 'config.json'), JSON.stringify(huge))
  expect(() => openSource(model)).toThrow('tensors do not fit config.json: it promises about')
})

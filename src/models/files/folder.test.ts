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
import { FormatError } from '../../errors.ts'
import { locateTensors, matchTensors, openSource, parseTypeRules, writeGgufModel } from '../index.ts'
import { cachedSnapshot } from './hf-cache.ts'

const fixture = fileURLToPath(new URL('../../../tests/fixtures/mixtral', import.meta.url))
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

test('blobs are followed from a download only: elsewhere a folder of that name is another folder', () => {
  const model = folder('repository/snapshots/abc')
  mkdirSync(join(scratch, 'repository', 'blobs'))
  copyFileSync(join(fixture, 'model.safetensors'), join(scratch, 'repository', 'blobs', 'weights'))
  symlinkSync('../../blobs/weights', join(model, 'model.safetensors'))
  expect(() => locateTensors(model)).toThrow("is a link that leaves the model's folder")
})

test.each(['../link/model.safetensors', '/etc/passwd', 'sub/../../x', '', '.', 7, null])(
  'a shard named %j is refused',
  name => {
    const model = folder('traversal')
    writeFileSync(join(model, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { x: name } }))
    expect(() => locateTensors(model)).toThrow(FormatError)
  },
)

/** A valid GGUF file with these numbers in its metadata in place of the true ones. */
function ggufWith(numbers: Record<string, number>): string {
  const model = folder('gguf')
  copyFileSync(join(fixture, 'model.safetensors'), join(model, 'model.safetensors'))
  const file = join(model, 'model.gguf')
  writeGgufModel(openSource(model), file, {
    rules: parseTypeRules('f32', ''),
    name: 'x',
    tokenizer: new Map(),
  })
  const bytes = readFileSync(file)
  for (const [key, value] of Object.entries(numbers)) {
    const at = bytes.indexOf(key)
    expect(at).toBeGreaterThan(0)
    bytes.writeUInt32LE(value, at + key.length + 4) // behind the key stands its type, u32
  }
  writeFileSync(file, bytes)
  return file
}

// Others list the tensors of every layer and expert before they look for any: out of bounds, or out of memory.
test.each([
  ['blocks that are not there', { 'llama.block_count': 513 }, 'missing blk.2.'],
  ['blocks beyond any model', { 'llama.block_count': 10_000 }, 'it promises about'],
  ['blocks that no number holds', { 'llama.block_count': 0xffffffff }, 'num_hidden_layers: must be at most'],
  ['no blocks', { 'llama.block_count': 0 }, 'num_hidden_layers'],
  ['experts beyond any model', { 'llama.expert_count': 2 ** 20 }, 'it promises about'],
  ['both', { 'llama.block_count': 10_000, 'llama.expert_count': 2 ** 20 }, 'it promises about'],
])('a GGUF file that promises %s is refused', (_, numbers, message) => {
  expect(() => openSource(ggufWith({}))).not.toThrow()
  expect(() => matchTensors(openSource(ggufWith(numbers)))).toThrow(message)
})

// A model folder as HF lays it out: config.json and safetensors files, sharded or not.

import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { ConfigError, FormatError } from '../../errors.ts'
import { readSafetensorsHeader, type TensorEntry } from '../../formats/index.ts'
import {
  type AnyModelConfig,
  type ModelConfig,
  parseAnyConfig,
  requireOneStack,
} from '../architectures/table.ts'

/** Where a tensor lies. */
export type TensorLocation = TensorEntry & { file: string }

/** readAnyConfig() for what needs a model of one stack of layers. */
export function readModelConfig(path: string): ModelConfig {
  return requireOneStack(readAnyConfig(path), path)
}

/**
 * The config of a model folder, or of a config.json itself.
 *
 * @throws ConfigError when there is none, or when it describes a model that cannot be computed here
 */
export function readAnyConfig(path: string): AnyModelConfig {
  const file = existsSync(path) && statSync(path).isDirectory() ? join(path, 'config.json') : path
  if (!existsSync(file)) {
    const what = file === path ? 'no such file or folder' : 'not a model folder: config.json is missing'
    throw new ConfigError(`${what}; name a folder with config.json and *.safetensors`, { path })
  }
  return parseAnyConfig(readJson(file), file)
}

/** Parses a JSON file of at most 64 MB. */
export function readJson(file: string): unknown {
  if (statSync(file).size > 64e6)
    throw new FormatError('is larger than 64 MB, which no configuration is', { file })
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new FormatError(`is not JSON (${(cause as Error).message})`, { file, cause })
  }
}

/** Every tensor of a model folder by name; headers are read and checked, data is not. */
export function locateTensors(folder: string): Map<string, TensorLocation> {
  const located = new Map<string, TensorLocation>()
  for (const file of tensorFiles(folder)) {
    for (const entry of readSafetensorsHeader(file).tensors.values()) {
      const other = located.get(entry.name)
      if (other) throw new FormatError(`tensor '${entry.name}' is also in ${basename(other.file)}`, { file })
      located.set(entry.name, { ...entry, file })
    }
  }
  return located
}

function tensorFiles(folder: string): string[] {
  const index = join(folder, 'model.safetensors.index.json')
  if (!existsSync(index)) {
    const single = join(folder, 'model.safetensors')
    if (existsSync(single)) return [inside(single, folder)]
    throw new FormatError('holds neither model.safetensors nor model.safetensors.index.json', {
      file: folder,
    })
  }
  const { weight_map: map } = (readJson(index) ?? {}) as { weight_map?: Record<string, unknown> }
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw new FormatError('has no weight_map', { file: index })
  return [...new Set(Object.values(map))].map(name => shardPath(name, index))
}

/** A shard's path, which must lie in the index's own folder. */
function shardPath(name: unknown, index: string): string {
  const folder = dirname(resolve(index))
  if (typeof name !== 'string' || dirname(resolve(folder, name)) !== folder) {
    throw new FormatError(`names a shard outside of its folder: ${JSON.stringify(name)}`, { file: index })
  }
  return inside(join(folder, name), folder)
}

/**
 * The path, once it is certain that it leads to a file of its own folder, or of the blobs of the same download of Hugging
 * Face's cache (`models--ORG--NAME/snapshots/REVISION/FILE -> ../../blobs/HASH`): a link may not reach for others' files.
 */
function inside(path: string, folder: string): string {
  const place = realPath(path)
  const home = realPath(folder)
  const repository = dirname(dirname(home))
  const isDownload = basename(dirname(home)) === 'snapshots' && basename(repository).startsWith('models--')
  const blobs = isDownload ? join(repository, 'blobs') : null
  if (dirname(place) === home || (blobs !== null && dirname(place) === blobs)) return path
  throw new FormatError(`is a link that leaves the model's folder, to ${place}`, { file: path })
}

function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch (cause) {
    throw new FormatError(`cannot be opened (${(cause as NodeJS.ErrnoException).code})`, {
      file: path,
      cause,
    })
  }
}

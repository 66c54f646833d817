// A GGUF file, whole or split, as a source of a model.

import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { FormatError } from '../../../errors.ts'
import { type GgufHeader, readGgufHeader } from '../../../formats/index.ts'
import { declarationsOf } from '../../architectures/create.ts'
import { decoderFields, MetadataReader } from '../../architectures/gguf/metadata.ts'
import { ggufRowNamed } from '../../architectures/gguf/table.ts'
import { parseModelConfig } from '../../architectures/table.ts'
import { refuseTooMany } from '../promised.ts'
import type { ModelSource } from '../source.ts'
import { ggufTensors } from '../stored-tensor.ts'

/** Whether a path is a file that begins as GGUF files do. */
export function isGgufFile(path: string): boolean {
  if (!existsSync(path) || !statSync(path).isFile()) return false
  const descriptor = openSync(path, 'r')
  try {
    const start = Buffer.alloc(4)
    readSync(descriptor, start, 0, 4, 0)
    return start.toString('latin1') === 'GGUF'
  } finally {
    closeSync(descriptor)
  }
}

export function openGguf(path: string): ModelSource {
  const parts = readParts(path)
  const [first] = [...parts.values()]
  const tensors = ggufTensors(parts)
  const meta = new MetadataReader(path, first?.metadata ?? new Map(), [...tensors.keys()])
  const row = ggufRowNamed(meta.architecture, path)
  const embedding = tensors.get('token_embd.weight')
  if (!embedding) throw new FormatError("has no 'token_embd.weight': it holds no model", { file: path })
  const config = parseModelConfig(
    {
      model_type: row.modelType(meta),
      vocab_size: embedding.shape[0],
      ...decoderFields(meta, !tensors.has('output.weight')),
      ...row.configFields(meta),
    },
    path,
  )
  const described = "the file's metadata"
  const declarations = declarationsOf(config)
  refuseTooMany(declarations, tensors.size, described, path)
  const layouts = row.layouts(config, declarations)
  const known = new Set(layouts.flat().map(piece => piece.name))
  return {
    path,
    config,
    declarations,
    described,
    tensors,
    layouts,
    isNeedless: name => known.has(name), // the same values in another layout
  }
}

/** Headers of a file, or of all parts of a split one, by path; the first has the metadata. */
function readParts(path: string): Map<string, GgufHeader> {
  const header = readGgufHeader(path)
  const count = header.metadata.get('split.count')?.value ?? 1
  if (count === 1 || count === 0) return new Map([[path, header]])
  const [, stem, , total] = /^(.+)-(\d{5})-of-(\d{5})\.gguf$/.exec(basename(path)) ?? []
  if (stem === undefined || Number(total) !== count) {
    throw new FormatError(
      `is part of a model in ${String(count)} files, but is not named as NAME-00001-of-${String(count).padStart(5, '0')}.gguf`,
      { file: path },
    )
  }
  const names = Array.from(
    { length: Number(total) },
    (_, i) => `${stem}-${String(i + 1).padStart(5, '0')}-of-${total}.gguf`,
  )
  return new Map(
    names.map(name => {
      const part = join(dirname(path), name)
      return [part, part === path ? header : readGgufHeader(part)]
    }),
  )
}

// checksums.json: the SHA-256 of every file of a checkpoint, so that damage is noticed before it is loaded.

import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { FormatError } from '../../errors.ts'
import { sha256 } from '../../files.ts'

const fileName = 'checksums.json'
const schema = z.record(
  z.string(),
  z.strictObject({ bytes: z.int().nonnegative(), sha256: z.string().length(64) }),
)

export async function writeChecksums(folder: string): Promise<void> {
  const sums: z.infer<typeof schema> = {}
  for (const name of readdirSync(folder, { encoding: 'utf8', recursive: true }).sort()) {
    if (statSync(join(folder, name)).isDirectory()) continue
    sums[name] = { bytes: statSync(join(folder, name)).size, sha256: await sha256(join(folder, name)) }
  }
  writeFileSync(join(folder, fileName), `${JSON.stringify(sums, null, 2)}\n`)
}

/** Throws FormatError naming the first file that is missing, truncated or changed. */
export async function verifyChecksums(folder: string): Promise<void> {
  for (const [name, { bytes, sha256: wanted }] of Object.entries(readChecksums(folder))) {
    const file = join(folder, name)
    if (!existsSync(file)) throw new FormatError('is missing from the checkpoint', { file })
    const size = statSync(file).size
    if (size !== bytes)
      throw new FormatError(`has ${size} bytes where ${bytes} were written: it is truncated`, { file })
    if ((await sha256(file)) !== wanted)
      throw new FormatError('has changed since it was written (SHA-256)', { file })
  }
}

function readChecksums(folder: string): z.infer<typeof schema> {
  const file = join(folder, fileName)
  if (!existsSync(file))
    throw new FormatError('is not a checkpoint: it holds no checksums.json', { file: folder })
  try {
    return schema.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch (cause) {
    throw new FormatError('is damaged', { file, cause })
  }
}

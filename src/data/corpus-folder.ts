// The folder that a corpus is prepared in: a stranger's files stay, an old corpus is replaced at the last moment.

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DataError } from '../errors.ts'
import { type CorpusManifest, manifestName, writeManifest } from './corpus-manifest.ts'

const shardName = /^(train|validation)-\d{5}\.safetensors$/

/** A corpus in the making. Until {@link install}, its folder is no corpus, or still the old one. */
export class CorpusFolder {
  readonly #folder: string
  readonly #work: string
  /** Where the files of the corpus are written. */
  readonly files: string
  /** For documents that wait to be encoded. */
  readonly storeFile: string

  /** Refuses a folder that holds a corpus already, unless told to replace it. */
  constructor(folder: string, { force }: { force: boolean }) {
    refuseTaken(folder, force)
    this.#folder = folder
    this.#work = join(folder, '.preparing')
    this.files = join(this.#work, 'corpus')
    this.storeFile = join(this.#work, 'documents')
    rmSync(this.#work, { recursive: true, force: true }) // a killed run may have left one
    mkdirSync(this.files, { recursive: true })
  }

  /** Moves the files into place. The manifest comes last: without it the folder is no corpus. */
  install(manifest: CorpusManifest): void {
    rmSync(join(this.#folder, manifestName), { force: true })
    for (const name of readdirSync(this.#folder)) if (shardName.test(name)) rmSync(join(this.#folder, name))
    for (const name of readdirSync(this.files)) renameSync(join(this.files, name), join(this.#folder, name))
    writeManifest(this.#folder, manifest)
  }

  /** Removes what was not installed. */
  [Symbol.dispose](): void {
    rmSync(this.#work, { recursive: true, force: true })
  }
}

function refuseTaken(folder: string, force: boolean): void {
  const stat = statSync(folder, { throwIfNoEntry: false })
  if (stat && !stat.isDirectory()) throw new DataError(`${folder} is a file; give a folder`)
  if (!force && existsSync(join(folder, manifestName))) {
    throw new DataError(`${folder} holds a corpus already: give --force to replace it, or another folder`)
  }
}

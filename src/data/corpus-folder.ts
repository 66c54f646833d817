// The folder that a corpus is prepared in: a stranger's files stay, an old corpus is replaced at the last moment.

import { mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '../errors.ts'
import { FolderLock } from '../folder-lock.ts'
import { type CorpusManifest, manifestName, writeManifest } from './corpus-manifest.ts'

const shardName = /^(train|validation)-\d{5}\.safetensors$/
const lockName = '.preparing.lock'
const workName = '.preparing'

/** A corpus in the making, by one process at a time. Until {@link install}, its folder is no corpus, or still the old one. */
export class CorpusFolder {
  readonly #folder: string
  readonly #work: string
  readonly #lock: FolderLock
  /** Where the files of the corpus are written. */
  readonly files: string
  /** For documents that wait to be encoded. */
  readonly storeFile: string

  /** Refuses a folder that holds a corpus already, unless told to replace it, and one that holds anything else. */
  constructor(folder: string, { force }: { force: boolean }) {
    this.#folder = folder
    this.#work = join(folder, workName)
    this.files = join(this.#work, 'corpus')
    this.storeFile = join(this.#work, 'documents')
    this.#lock = takeFolder(folder)
    try {
      refuseTaken(folder, force)
      rmSync(this.#work, { recursive: true, force: true }) // a killed process may have left one
      mkdirSync(this.files, { recursive: true })
    } catch (error) {
      this.#leave()
      throw error
    }
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
    this.#leave()
  }

  #leave(): void {
    this.#lock.release()
    if (readdirSync(this.#folder).length === 0) rmdirSync(this.#folder)
  }
}

function takeFolder(folder: string): FolderLock {
  const stat = statSync(folder, { throwIfNoEntry: false })
  if (stat && !stat.isDirectory()) refuse(`${folder} is a file; give a folder`)
  mkdirSync(folder, { recursive: true })
  return new FolderLock(folder, { name: lockName, work: 'is being prepared' })
}

function refuseTaken(folder: string, force: boolean): void {
  const names = readdirSync(folder).filter(name => !name.startsWith(lockName))
  if (names.includes(manifestName)) {
    if (!force)
      refuse(`${folder} holds a corpus already: say that it is to be replaced (force), or another folder`)
  } else if (names.length > 0 && !names.includes(workName)) {
    refuse(`${folder} is not empty and holds no corpus: give another folder`)
  }
}

function refuse(problem: string): never {
  throw new ConfigError(problem, { path: 'out' })
}

// Models that Hugging Face's tools have downloaded: HUB/models--ORG--NAME/snapshots/REVISION, with refs/main naming the
// revision. Nothing is downloaded here.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** The folder of downloads, as huggingface_hub finds it. */
function hubCache(): string {
  const { HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = process.env
  if (HF_HUB_CACHE) return HF_HUB_CACHE
  return join(HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface'), 'hub')
}

/** The snapshot of a downloaded `org/name`, the one of `main` if there are several; undefined when there is none. */
export function cachedSnapshot(model: string): string | undefined {
  if (!/^[\w.-]+\/[\w.-]+$/.test(model) || model.includes('..')) return undefined
  const folder = join(hubCache(), `models--${model.replace('/', '--')}`)
  const snapshots = join(folder, 'snapshots')
  if (!existsSync(snapshots)) return undefined
  const main = join(folder, 'refs', 'main')
  const named = existsSync(main) ? readFileSync(main, 'utf8').trim() : undefined
  if (named && /^[\w-]+$/.test(named) && existsSync(join(snapshots, named))) return join(snapshots, named)
  const newest = readdirSync(snapshots)
    .map(name => join(snapshots, name))
    .sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0]
  return newest
}

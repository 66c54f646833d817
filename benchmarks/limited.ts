// Decoding where memory is limited from outside, by a control group that counts the page cache, too: a model of 3 GiB within far
// less. Experts in a cache of our own, or all of them through the page cache by reads, beside llama.cpp, which maps the file. The text
// is given: what random weights would write repeats itself, and experts with it.
//   usage: limited.ts [GIB], as root

import { copyFileSync, existsSync, writeFileSync } from 'node:fs'
import { Contestant, median, race } from './support/contestant.ts'
import { hasLlama } from './support/llama.ts'
import { canLimitMemory, MemoryGroup } from './support/memory-group.ts'
import { report } from './support/report.ts'
import { largeModel, largeStoredModel } from './support/stored-model.ts'

const limit = Number(process.argv[2] ?? 1) * 2 ** 30
const rounds = 3
const count = 16
const setting = { vocab: largeModel.vocab_size, prompt: 16, room: count * (rounds + 2) }
if (!canLimitMemory) {
  console.log('limited: needs root, and control groups of version 1 that limit memory')
  process.exit(0)
}

const cases = [
  {
    name: 'our cache, reads past the page cache',
    kind: 'ours',
    share: 0.93,
    read: 'direct',
    prefetch: 'off',
  },
  { name: 'the same, ahead by routers', kind: 'ours', share: 0.93, read: 'direct', prefetch: 'router' },
  {
    name: 'our cache, reads through what is left',
    kind: 'ours',
    share: 0.7,
    read: 'cached',
    prefetch: 'off',
  },
  { name: 'no cache of ours, the page cache alone', kind: 'ours', share: 0, read: 'cached', prefetch: 'off' },
  ...(hasLlama ? [{ name: 'llama.cpp, the file mapped', kind: 'llama' } as const] : []),
] as const

const groups = cases.map((_, i) => new MemoryGroup(String(i), limit))
const all = cases.map(({ name, kind, ...how }, i) => {
  const text = JSON.stringify({ ...setting, ...how, limit, file: fileOf(i) })
  return Contestant.ours(name, `limited-${kind}.ts`, [text], { SWITCHYARD_THREADS: '2' }).within(
    groups[i] as MemoryGroup,
  )
})
writeFileSync('/proc/sys/vm/drop_caches', '3') // pages count for the group that reads them, if nobody has them yet
await race(all, { rounds, count, warmup: count })
const [first] = all as [Contestant, ...Contestant[]]
const detail = (who: Contestant, name: string): string => {
  const values = who.rounds.flatMap(round => round[name] ?? [])
  return values.length === 0 ? '' : `${(100 * median(values)).toFixed(0)}%`
}
const pageCache = all[3] as Contestant
report({
  name: 'limited',
  setting: { model: largeModel, limit, rounds, count, ...setting },
  rows: [
    ['experts', 'tokens/s', 'of the first', 'hits', 'most memory'],
    ...all.map((who, i) => [
      who.name,
      (1 / who.median).toFixed(2),
      `${((100 * first.median) / who.median).toFixed(0)}%`,
      detail(who, 'hitRate'),
      `${((groups[i]?.peak ?? 0) / 2 ** 30).toFixed(2)} GiB`,
    ]),
  ],
  notes: [
    `our cache over the page cache alone: ${(pageCache.median / Math.min(...all.slice(0, 3).map(who => who.median))).toFixed(2)} (aim: at least 0.98)`,
    ...all
      .slice(4)
      .map(llama => `over llama.cpp within the same memory: ${(llama.median / first.median).toFixed(2)}`),
  ],
  data: Object.fromEntries(all.map(who => [who.name, who.rounds])),
})
for (const who of all) who.close()
for (const group of groups) group[Symbol.dispose]()

/** Files of their own: pages of a shared one would count for whoever read them first. */
function fileOf(i: number): string {
  const file = largeStoredModel()
  const copy = file.replace(/\.gguf$/, `-${i}.gguf`)
  if (!existsSync(copy)) copyFileSync(file, copy)
  return copy
}

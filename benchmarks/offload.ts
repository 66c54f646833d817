// Decoding with a part of the experts in memory and the others in the file: what a budget costs, and what reading ahead gives. Reads go through the
// system's page cache, which holds the file on machines with room for it, or past it to the disk.

import { Contestant, median, race } from './support/contestant.ts'
import { report } from './support/report.ts'
import { decodingModel, storedModel } from './support/stored-model.ts'

const rounds = 5
const count = 24
const file = storedModel('q8_0')
const task = { kind: 'write', prompt: 16, room: count * (rounds + 2) }
const places = [
  { name: 'half, the others from the page cache', share: 0.5, read: 'cached' },
  { name: 'a quarter, the others from the page cache', share: 0.25, read: 'cached' },
  { name: 'half, the others from the disk', share: 0.5, read: 'direct' },
  { name: 'a quarter, the others from the disk', share: 0.25, read: 'direct' },
]
/** Guesses are made all the time here, not only where they were found to pay. */
const guesses = [
  { prefetch: 'off', suffix: '' },
  { prefetch: 'router', suffix: '; ahead by routers' },
  { prefetch: 'history', suffix: '; ahead by history' },
]
const settings = [
  { name: 'all experts in memory', share: 1, read: 'cached', prefetch: 'off' },
  ...places.flatMap(({ name, ...how }) =>
    guesses.map(({ prefetch, suffix }) => ({ name: name + suffix, prefetch, ...how })),
  ),
]
const all = settings.map(({ name, ...how }) =>
  Contestant.ours(name, 'offload.ts', [
    JSON.stringify({ file, vocab: decodingModel.vocab_size, task, ...how }),
  ]),
)
await race(all, { rounds, count, warmup: count })

const detail = (who: Contestant, name: string): number => median(who.rounds.map(round => round[name] ?? 0))
const [resident] = all as [Contestant, ...Contestant[]]

report({
  name: 'offload',
  setting: { model: decodingModel, rounds, count, weights: 'drawnSource, seed 1, skew 0.5' },
  rows: [
    ['experts', 'tokens/s', 'of all in memory', 'hits', 'read per token', 'ahead, used', 'in vain'],
    ...all.map(who => [
      who.name,
      (1 / who.median).toFixed(1),
      `${((100 * resident.median) / who.median).toFixed(0)}%`,
      `${(100 * detail(who, 'hitRate')).toFixed(0)}%`,
      ...['bytesPerToken', 'usefulPerToken', 'wastedPerToken'].map(
        name => `${(detail(who, name) / 1e6).toFixed(0)} MB`,
      ),
    ]),
  ],
  notes: [],
  data: Object.fromEntries(all.map(who => [who.name, who.rounds])),
})
for (const who of all) who.close()

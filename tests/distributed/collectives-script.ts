// Collectives on random rows: what comes, and what comes back in backward, against what follows from knowing all ranks' rows.
import { Cluster, meshSizes, placingOf } from '../../src/parallel/index.ts'
import { cat, manualSeed, randn, type Tensor, tensor, tidy } from '../../src/torch/index.ts'

const placing = placingOf(process.env)
if (!placing) throw new Error('needs ranks')
const cluster = Cluster.meet(placing, { mesh: meshSizes({ data: placing.size }), timeout: 20_000 })
const { rank, size, batch } = { rank: cluster.rank, size: cluster.size, batch: cluster.batch }

/** Largest difference; 0 of nothing. */
const distance = (a: Tensor, b: Tensor): number =>
  a.shape.join() === b.shape.join()
    ? a.numel === 0
      ? 0
      : a.sub(b).abs().max().item()
    : Number.POSITIVE_INFINITY

/** The same on every rank: splits[from][to], zero for a third of them. */
const splitsOf = (draw: () => number): number[][] =>
  Array.from({ length: size }, () =>
    Array.from({ length: size }, () => (draw() < 0.33 ? 0 : Math.floor(draw() * 5))),
  )

let seed = 7
const draw = (): number => {
  seed = (seed * 48_271) % 2_147_483_647
  return seed / 2_147_483_647
}

const worst: Record<string, number> = {}
const note = (what: string, difference: number): void => {
  worst[what] = Math.max(worst[what] ?? 0, difference)
}

for (let round = 0; round < 40; round++) {
  const splits = splitsOf(draw)
  manualSeed(round)
  const all = splits.map(to => randn([to.reduce((a, b) => a + b, 0), 3], { dtype: 'f64' }))
  const weights = splits.map((_, to) =>
    randn([splits.reduce((sum, from) => sum + (from[to] ?? 0), 0), 3], { dtype: 'f64' }),
  )
  tidy(() => {
    const blocks = (from: number, rows: Tensor): Tensor[] => rows.splitWithSizes(splits[from] as number[])
    const x = (all[rank] as Tensor).clone().requiresGrad_()
    const received = splits.map(from => from[rank] as number)
    const y = batch.allToAll(x, received, splits[rank] as number[])
    note('forward', distance(y, cat(all.map((rows, from) => blocks(from, rows)[rank] as Tensor))))
    y.mul(weights[rank] as Tensor)
      .sum()
      .backward()
    // The gradient of a row is the weight that it met where it went.
    const met = splits.map((_, to) => {
      const before = splits.slice(0, rank).reduce((sum, from) => sum + (from[to] ?? 0), 0)
      return (weights[to] as Tensor).narrow(0, before, splits[rank]?.[to] ?? 0)
    })
    note('backward', distance(x.grad as Tensor, cat(met)))
  })
}

tidy(() => {
  const rows = Array.from({ length: size }, (_, r) =>
    tensor(
      [
        [r + 1, 2],
        [3, 4 * r],
      ],
      { dtype: 'f64' },
    ),
  )
  const own = (rows[rank] as Tensor).clone().requiresGrad_()
  const sum = batch.statistic(own.mul(2))
  sum.square().sum().backward()
  const whole = rows.reduce((a, b) => a.add(b)).mul(2)
  note('sum', distance(sum, whole))
  note('gradient of a statistic', distance(own.grad as Tensor, whole.mul(4 * size))) // each rank's loss is the same
  const gathered = batch.allGather(own.detach().requiresGrad_())
  note('gathered', distance(gathered, cat(rows)))
  const scattered = batch.reduceScatter(cat(rows))
  note(
    'scattered',
    distance(
      scattered,
      cat(rows)
        .narrow(0, 2 * rank, 2)
        .mul(size),
    ),
  )
  const [a, b] = [tensor([rank, 1]), tensor([[2 * rank]])]
  batch.startSum([a, b]).finish()
  const ranks = (size * (size - 1)) / 2
  note('bucket', distance(cat([a, b.reshape([-1])]), tensor([ranks, size, 2 * ranks])))
  const told = tensor([rank * 10, 7])
  batch.broadcast(told, 1)
  note('broadcast', distance(told, tensor([10, 7])))
  const narrow = batch.sumOver(tensor([1, 2], { dtype: 'bf16' }))
  note('bf16', distance(narrow.float(), tensor([size, 2 * size])))
})

cluster.barrier()
console.log(JSON.stringify(worst))
cluster.leave()

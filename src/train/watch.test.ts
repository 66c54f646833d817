import { expect, test } from 'vitest'
import { loadStats } from '../moe/index.ts'
import { TrainingWatch } from './watch.ts'

const routing = (load: number[]) => [{ layer: 3, ...loadStats(load), dropped: 0, entropy: 0 }]

test('half of the experts dead for ten observations is said once, with the layer and the remedy', () => {
  const watch = new TrainingWatch()
  const said = Array.from({ length: 30 }, () => watch.observe({ routing: routing([50, 50, 0, 0]) })).flat()
  expect(said).toEqual([
    'layer 3: 2 of 4 experts get no tokens any more; raise losses.balance.coefficient, or lower ' +
      'optimizer.groups.router.scale',
  ])
})

test('a pause starts the count anew, and one dead expert of four is no collapse', () => {
  const watch = new TrainingWatch()
  for (let i = 0; i < 9; i++) expect(watch.observe({ routing: routing([50, 50, 0, 0]) })).toEqual([])
  expect(watch.observe({ routing: routing([25, 25, 25, 25]) })).toEqual([])
  for (let i = 0; i < 9; i++) expect(watch.observe({ routing: routing([50, 50, 0, 0]) })).toEqual([])
  for (let i = 0; i < 30; i++) expect(watch.observe({ routing: routing([50, 50, 50, 0]) })).toEqual([])
})

test('a loss that stays far above its best is said once', () => {
  const watch = new TrainingWatch()
  watch.observe({ losses: { total: 3 } })
  for (let i = 0; i < 5; i++) expect(watch.observe({ losses: { total: 4.5 } })).toEqual([]) // a spike
  expect(watch.observe({ losses: { total: 3.2 } })).toEqual([])
  const said = Array.from({ length: 20 }, () => watch.observe({ losses: { total: 5 } })).flat()
  expect(said.length).toBe(1)
  expect(said[0]).toContain('the loss stays at 5.00, above its best of 3.00; lower optimizer.learningRate')
})

test('a loss that is not finite does not hide what comes after it', () => {
  const watch = new TrainingWatch()
  watch.observe({ losses: { total: 3 } })
  watch.observe({ losses: { total: Number.NaN } })
  const said = Array.from({ length: 20 }, () => watch.observe({ losses: { total: 5 } })).flat()
  expect(said.length).toBe(1)
})

test('validation that gets worse while training gets better is overfitting, said once', () => {
  const watch = new TrainingWatch()
  watch.observe({ losses: { total: 3 } })
  expect(watch.evaluated({ step: 10, loss: 3 }, true)).toEqual([])
  watch.observe({ losses: { total: 2.9 } })
  for (let i = 0; i < 5; i++) expect(watch.evaluated({ step: 10, loss: 3 }, false)).toEqual([]) // nothing is learnt either
  watch.observe({ losses: { total: 2 } })
  expect(watch.evaluated({ step: 10, loss: 3 }, false)[0]).toContain('validation was best at step 10')
  expect(watch.evaluated({ step: 10, loss: 3 }, false)).toEqual([])
})

test('two evaluations that are no better are noise', () => {
  const watch = new TrainingWatch()
  watch.observe({ losses: { total: 3 } })
  watch.evaluated({ step: 10, loss: 3 }, true)
  watch.observe({ losses: { total: 1 } })
  for (let i = 0; i < 2; i++) expect(watch.evaluated({ step: 10, loss: 3 }, false)).toEqual([])
})

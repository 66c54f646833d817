// The same calls outside of any scope: every result is left to the garbage collector.

import { noGrad, ones, setThreads } from '../../src/torch/index.ts'
import { serve } from '../support/contestant.ts'

setThreads(1)
const [a, b] = [ones([1, 1]), ones([1, 1])]

await serve(count => {
  noGrad(() => {
    for (let i = 0; i < count; i++) a.add(b)
  })
  return {}
})

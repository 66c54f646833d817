// A small operator without gradients, called over and over: what a call costs from TypeScript.

import { noGrad, ones, setThreads, tidy } from '../../src/torch/index.ts'
import { serve } from '../support/contestant.ts'

setThreads(1)
const [a, b] = [ones([1, 1]), ones([1, 1])]

await serve(count => {
  noGrad(() => {
    for (let done = 0; done < count; done += 1000) {
      tidy(() => {
        for (let i = 0; i < 1000; i++) a.add(b)
      })
    }
  })
  return {}
})

// Reading memory, on as many threads as operators have: a sum over more than the caches hold, as switchyard doctor does.
//   usage: read.ts MIB

import { randn, tidy } from '../../src/torch/index.ts'
import { serve } from '../support/contestant.ts'

const x = randn([Number(process.argv[2]) << 18], { seed: 1 })

await serve(count => {
  for (let i = 0; i < count; i++) tidy(() => void x.sum())
  return {}
})

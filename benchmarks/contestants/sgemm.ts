// The ceiling: 1024^3 single-precision matrix products.

import { noGrad, randn, tidy } from '../../src/torch/index.ts'
import { serve } from '../support/contestant.ts'

const [a, b] = [randn([1024, 1024], { seed: 1 }), randn([1024, 1024], { seed: 2 })]

await serve(count => {
  noGrad(() => {
    for (let i = 0; i < count; i++) tidy(() => void a.mm(b))
  })
  return {}
})

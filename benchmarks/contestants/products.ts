// The ceiling: 1024^3 matrix products by one library, in one type.
//   usage: products.ts LIBRARY f32|bf16

import { chooseGemm, type DType, fusedLinear, noGrad, randn, tidy } from '../../src/torch/index.ts'
import { serve } from '../support/contestant.ts'

const [library = '', dtype = 'f32'] = process.argv.slice(2)
const [a, b] = [1, 2].map(seed => randn([1024, 1024], { seed }).to(dtype as DType)) as [never, never]
if (dtype === 'f32') chooseGemm(library)

await serve(count => {
  noGrad(() => {
    for (let i = 0; i < count; i++) tidy(() => void fusedLinear(a, b))
  })
  return {}
})

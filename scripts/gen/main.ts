// npm run gen

import { writeFileSync } from 'node:fs'
import { generate } from './generate.ts'

for (const [name, source] of Object.entries(generate())) {
  writeFileSync(new URL(`../../src/torch/generated/${name}`, import.meta.url), source)
}

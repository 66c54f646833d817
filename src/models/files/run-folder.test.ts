import { expect, test } from 'vitest'
import { modelName } from './run-folder.ts'

test.each([
  ['runs/tiny/checkpoints/step-00000400', 'tiny'],
  ['runs/tiny/checkpoints/step-00000400/ema', 'tiny'],
  ['/models/mixtral', 'mixtral'],
  ['/models/mixtral.gguf', 'mixtral'],
  ['/cache/hub/models--allenai--OLMoE-1B-7B/snapshots/0a1b', 'allenai/OLMoE-1B-7B'],
  ['/models/step-1', 'step-1'],
])('%s is called %s', (path, name) => expect(modelName(path)).toBe(name))

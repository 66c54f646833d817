// Types of quantized blocks stand in one table here and in one in C++ (native/ops/blocks/types.h): both say the same.
import { expect, test } from 'vitest'
import { codecs } from '../src/formats/index.ts'
import { callOperator } from '../src/torch/index.ts'

test('the native table of block types is that of the codecs', () => {
  const [names, values, bytes, written] = callOperator('switchyard::block_types') as [
    string[],
    number[],
    number[],
    string[],
  ]
  const native = names.map((name, i) => [name, values[i], bytes[i], written.includes(name)])
  const ours = Object.entries(codecs).map(([name, codec]) => [
    name,
    codec.blockSize,
    codec.blockBytes,
    codec.encode !== undefined,
  ])
  expect(native.sort()).toEqual(ours.sort())
})

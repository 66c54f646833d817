import { expect, test } from 'vitest'
import { randn, type Tensor } from '../torch/index.ts'
import { Linear, Module, replaceModules } from './index.ts'

class Doubled extends Module {
  readonly base: Linear

  constructor(base: Linear) {
    super()
    this.base = base
  }

  forward(x: Tensor): Tensor {
    return this.base.forward(x).mul(2)
  }
}

class Block extends Module {
  readonly linear = new Linear(3, 3)
}

class Tree extends Module {
  readonly first = new Block()
  readonly list = [new Linear(3, 3), new Block()]
  readonly again = this.first
  readonly tied = this.list[0]
}

test('modules are replaced wherever they stand, and what replaces them is left alone', () => {
  const tree = new Tree()
  const seen: string[] = []
  const replaced = replaceModules(tree, (module, path) => {
    seen.push(path)
    return module instanceof Linear ? new Doubled(module) : undefined
  })
  expect(replaced.sort()).toEqual(['first.linear', 'list.0', 'list.1.linear', 'tied'])
  expect(seen.sort()).toEqual(['first', 'first.linear', 'list.0', 'list.1', 'list.1.linear'])
  expect(tree.tied).toBe(tree.list[0])
  expect(tree.again).toBe(tree.first)
  expect(tree.namedParameters().has('first.linear.base.weight')).toBe(true)
  const x = randn([2, 3], { seed: 1 })
  const { linear } = tree.first as unknown as { linear: Doubled }
  expect(linear.forward(x).equal(linear.base.forward(x).mul(2))).toBe(true)
})

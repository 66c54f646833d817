import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  describeMesh,
  groupRanks,
  meshAxes,
  meshSizes,
  parseMesh,
  placeOf,
  rankAt,
  worldSize,
} from './mesh.ts'

const anySizes = fc.record({
  tensor: fc.integer({ min: 1, max: 3 }),
  expert: fc.integer({ min: 1, max: 4 }),
  shard: fc.integer({ min: 1, max: 2 }),
  data: fc.integer({ min: 1, max: 3 }),
  pipeline: fc.integer({ min: 1, max: 3 }),
})

describe('a mesh', () => {
  it('gives every rank a place of its own', () => {
    fc.assert(
      fc.property(anySizes, sizes => {
        const ranks = Array.from({ length: worldSize(sizes) }, (_, rank) => rank)
        expect(ranks.map(rank => rankAt(placeOf(rank, sizes), sizes))).toEqual(ranks)
      }),
    )
  })

  it('divides the world into groups along any axes', () => {
    fc.assert(
      fc.property(anySizes, fc.subarray([...meshAxes]), (sizes, along) => {
        const world = worldSize(sizes)
        const groups = Array.from({ length: world }, (_, rank) =>
          groupRanks(placeOf(rank, sizes), sizes, along),
        )
        const size = along.reduce((product, axis) => product * sizes[axis], 1)
        groups.forEach((group, rank) => {
          expect(group).toHaveLength(size)
          expect(group).toContain(rank)
          expect(groups[group[0] as number]).toEqual(group)
        })
      }),
    )
  })

  it('has neighbours along tensor and stages farthest apart', () => {
    const sizes = meshSizes({ tensor: 2, pipeline: 2 })
    expect(groupRanks(placeOf(0, sizes), sizes, ['tensor'])).toEqual([0, 1])
    expect(groupRanks(placeOf(0, sizes), sizes, ['pipeline'])).toEqual([0, 2])
  })

  it('is written as it is read', () => {
    expect(describeMesh(parseMesh('data=2, expert=4'))).toBe('expert=4,data=2')
    expect(describeMesh(meshSizes())).toBe('one rank')
  })

  it.each(['experts=2', 'data', 'data=0', 'data=2,data=2', '', 'data=1e3', 'constructor=2'])(
    'refuses %j',
    text => {
      expect(() => parseMesh(text)).toThrow(/mesh/)
    },
  )
})

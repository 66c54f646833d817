import { expect, test } from 'vitest'
import { arange, rand, randint, tensor } from '../torch/index.ts'
import { maskTokens } from './masking.ts'

/** The rule, one position at a time. */
function reference(
  text: number[],
  maskId: number,
  draws: number[][],
): { inputs: number[]; targets: number[] } {
  const count = Math.max(1, Math.round(0.15 * text.length))
  const chosen = text
    .map((_, t) => t)
    .sort((a, b) => draws[b]![0]! - draws[a]![0]!)
    .slice(0, count)
  const shown = (id: number, [, treatment = 0, other = 0]: number[]): number =>
    treatment < 0.8 ? maskId : treatment < 0.9 ? Math.floor(other * maskId) : id
  return {
    inputs: text.map((id, t) => (chosen.includes(t) ? shown(id, draws[t]!) : id)),
    targets: text.map((id, t) => (chosen.includes(t) ? id : -100)),
  }
}

test.each([1, 3, 40])('%i positions are masked as the rule says', length => {
  const text = randint(0, 30, [6, length], { seed: 1 })
  const draws = rand([6, length, 3], { dtype: 'f64', seed: 2 })
  const { inputs, targets } = maskTokens(text, 30, draws)
  const rows = text.tolist() as number[][]
  const wanted = rows.map((row, b) => reference(row, 30, (draws.tolist() as number[][][])[b]!))
  expect(inputs.tolist()).toEqual(wanted.map(row => row.inputs))
  expect(targets.tolist()).toEqual(wanted.map(row => row.targets))
})

test('15% of positions are targets: 80% of them masked, 10% another token, 10% unchanged', () => {
  const [rows, length, maskId] = [400, 100, 1000]
  const text = arange(0, length).unsqueeze(0).expand([rows, length]).contiguous()
  const { inputs, targets } = maskTokens(text, maskId, rand([rows, length, 3], { dtype: 'f64', seed: 3 }))
  const isTarget = targets.ge(0)
  expect(isTarget.sum(1).eq(15).all().item()).toBe(1) // of each sequence, not on average
  expect(targets.maskedSelect(isTarget).equal(text.maskedSelect(isTarget))).toBe(true)
  expect(inputs.maskedSelect(isTarget.logicalNot()).equal(text.maskedSelect(isTarget.logicalNot()))).toBe(
    true,
  )
  const shown = inputs.maskedSelect(isTarget)
  const share = (count: number): number => count / (rows * 15)
  const masked = share(shown.eq(maskId).sum().item())
  const kept = share(shown.eq(targets.maskedSelect(isTarget)).sum().item())
  // 6000 draws: four standard deviations of a share of 0.8 are 0.021, of 0.1 0.016; one in 1000 others is the same.
  expect(Math.abs(masked - 0.8)).toBeLessThan(0.021)
  expect(Math.abs(kept - 0.1001)).toBeLessThan(0.016)
  expect(shown.max().item()).toBe(maskId)
})

test('the token drawn instead is any but the mask', () => {
  const ids = [0, 0.2499, 0.25, 0.999_999_999_999].map(other => {
    const draws = tensor([[[0.5, 0.85, other]]], { dtype: 'f64' })
    return maskTokens(tensor([[3n]]), 4, draws).inputs.item()
  })
  expect(ids).toEqual([0, 0, 1, 3])
})

import { expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { Parameter } from '../../nn/index.ts'
import { crossEntropyLoss, linear, randn, type Tensor, tensor } from '../../torch/index.ts'
import { headLoss, headMargin, meanLoss, targetMargin } from './loss.ts'

const [meanReduction, ignored, smoothing] = [1, -100, 0.1]
const targets = tensor([3n, 0n, -100n, 6n, 3n])
const made = (shape: number[], seed: number): Parameter => new Parameter(randn(shape, { dtype: 'f64', seed }))

const smoothed = (logits: Tensor): Tensor =>
  crossEntropyLoss(logits, targets, null, meanReduction, ignored, smoothing)

test("label smoothing is PyTorch's, of logits", () => {
  const logits = made([5, 7], 1)
  meanLoss(logits, targets).add(targetMargin(logits, targets), smoothing).backward()
  const gradient = logits.grad as Tensor
  const wanted = made([5, 7], 1)
  const loss = smoothed(wanted)
  loss.backward()
  expectClose(meanLoss(logits, targets).add(targetMargin(logits, targets), smoothing), loss, 1e-12)
  expectClose(gradient, wanted.grad as Tensor, 1e-12)
})

test.each([true, false])("and of hidden states, without other tokens' logits (bias: %s)", hasBias => {
  const parts = (): Parameter[] => [made([5, 4], 1), made([7, 4], 2), ...(hasBias ? [made([7], 3)] : [])]
  const [ours, theirs] = [parts(), parts()]
  const [hidden, head, bias = null] = ours as [Parameter, Parameter, Parameter?]
  const loss = headLoss(hidden, head, targets, bias).add(headMargin(hidden, head, targets, bias), smoothing)
  loss.backward()
  const [x, w, b = null] = theirs as [Parameter, Parameter, Parameter?]
  const wanted = smoothed(linear(x, w, b))
  wanted.backward()
  expectClose(loss, wanted, 1e-12)
  for (const [i, part] of ours.entries()) expectClose(part.grad as Tensor, theirs[i]?.grad as Tensor, 1e-12)
  expect(ours).toHaveLength(hasBias ? 3 : 2)
})

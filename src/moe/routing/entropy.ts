import { noGrad, type Tensor, tidy } from '../../torch/index.ts'

/** Mean entropy of real tokens' probabilities [T, E], in nats. */
export function meanEntropy({ probs, mask }: { probs: Tensor; mask: Tensor | null }): number {
  return noGrad(() =>
    tidy(() => {
      const perToken = probs.mul(probs.clamp(1e-30).log()).sum(-1).neg() // [T]
      const real = mask === null ? perToken : perToken.maskedSelect(mask)
      return real.numel === 0 ? 0 : real.mean().item()
    }),
  )
}

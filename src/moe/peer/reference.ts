// The slow, obvious PEER: all N scores, and every expert on every token. The layer is tested against it.
// Shapes: T tokens, D model, N experts, h heads, k experts per head.

import { activate } from '../../nn/index.ts'
import { linear, type Tensor, tidy, zerosLike } from '../../torch/index.ts'
import { gateScores, type PeerLayer } from './peer.ts'

/** `y = (G * act(x U^T)) V` with G [T, N] the weights, zero where no head chose: [T, D] -> [T, D]. */
export function referencePeer(layer: PeerLayer, xTD: Tensor, mask: Tensor | null = null): Tensor {
  return tidy(() => {
    const [first, second] = layer.scores(xTD, mask)
    const scores = first.unsqueeze(-1).add(second.unsqueeze(-2)).flatten(-2) // [T, h, N]
    const [best, indices] = scores.topk(layer.topK) // [T, h, k]
    const gates = zerosLike(scores).scatter(-1, indices, gateScores(best, layer.gate)).sum(1) // [T, N]
    const real = mask === null ? gates : gates.mul(mask.unsqueeze(-1))
    const hidden = activate(linear(xTD, layer.input_weights), layer.activation) // [T, N]
    return real.to(xTD.dtype).mul(hidden).matmul(layer.output_weights)
  })
}

// Attention of the newest positions of sequences over all that their caches hold: prefill and decoding.
#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/** B sequences, one after the other: n_b rows of sequence b are new. Position i is in page `pages[b, i / S]` of the cache. */
struct CachedAttentionInputs {
  at::Tensor queries;         // [N, H, D]: the rows of sequence b are starts[b] .. starts[b + 1]
  at::Tensor keys;            // [P, G, S, D], the new rows' included; in blocks of Q8_0 u8 [P, G, S, bytes]
  at::Tensor values;          // [P, G, S, E]
  at::IntArrayRef starts;     // [B + 1]
  at::IntArrayRef lengths;    // [B]: positions that are filled, of which the last n_b are the new rows'
  at::IntArrayRef pages;      // [B, M]
  double scale;               // of scores
  int64_t window;             // positions that a query looks back on, itself included; 0: all
  at::Tensor sinks;           // [H], logits that take part in the softmax and give no value; may be undefined
};

/**
 * `softmax(scale q k^T) v` [N, H, E] over the positions up to each query's own, each key/value head serving H / G query
 * heads; f32 or f64, on the CPU. For f32 queries caches may be in f16 or in blocks of Q8_0: E is then all that a row of blocks
 * has room for, and D may be less. Caches may be strided in all but their last dimension.
 */
at::Tensor cachedAttention(const CachedAttentionInputs& inputs);

}  // namespace switchyard

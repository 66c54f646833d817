// One new query per sequence over a preallocated cache: see attention_decode in leaves_cpu.cc.
#pragma once

#include "../common/element.h"

namespace switchyard::cuda {

struct AttentionDecode {
  Element element;
  const void* queries;     // [B, H, D]
  const void* keys;        // [B, G, S, D]
  const void* values;      // [B, G, S, E]
  const int32_t* lengths;  // [B]: positions of the cache that are filled
  float* parts;            // [B * H, splits, E + 2], scratch
  void* y;                 // [B, H, E]
  float scale;
  int64_t window;  // the last positions that count; 0: all
  int64_t batch;
  int64_t heads;       // H
  int64_t groups;      // G, each with H / G heads
  int64_t capacity;    // S
  int64_t width;       // D
  int64_t valueWidth;  // E
  int64_t splits;      // into how many stretches the positions are divided
};

/** Enough stretches to fill a large GPU; from the shape alone, since lengths live on the device. */
int64_t decodeSplits(int64_t batch, int64_t groups, int64_t capacity);

void launchAttentionDecode(const AttentionDecode& decode, cudaStream_t stream);

}  // namespace switchyard::cuda

// Between tokens and rows sorted by expert: see leaf::gatherRows, combineRows and zeroEmptyGroups in leaves.h.
#pragma once

#include "../common/element.h"

namespace switchyard::cuda {

struct GatherRows {
  Element element;
  const void* x;             // [T, D]
  const int32_t* rowOfSlot;  // [T, K]
  const int32_t* filled;     // [1]: how many rows belong to a slot
  void* rows;                // [T * K, D]
  int64_t tokens;
  int64_t choices;
  int64_t width;
};

void launchGatherRows(const GatherRows& gather, cudaStream_t stream);

struct CombineRows {
  Element element;
  const void* rows;          // [N, D]
  const int32_t* rowOfSlot;  // [T, K]
  const float* weights;      // [T, K]; null: all one
  void* y;                   // [T, D]
  int64_t tokens;
  int64_t choices;
  int64_t width;
};

void launchCombineRows(const CombineRows& combine, cudaStream_t stream);

struct ZeroEmptyGroups {
  void* stack;          // [E, bytes]
  const int32_t* ends;  // [E]
  int64_t groups;
  int64_t bytes;  // of one group
};

void launchZeroEmptyGroups(const ZeroEmptyGroups& zero, cudaStream_t stream);

}  // namespace switchyard::cuda

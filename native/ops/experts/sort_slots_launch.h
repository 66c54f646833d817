// Slots (token, choice) sorted by expert, stable: see leaf::sortSlots in leaves.h.
#pragma once

#include "../common/element.h"

namespace switchyard::cuda {

/** Experts that a block can count in its shared memory, once per warp. */
constexpr int64_t kMostExperts = 1024;

struct SortSlots {
  const int64_t* indices;  // [N], expert of each slot; what is no expert is an empty slot
  int32_t* rowOfSlot;      // [N]
  int32_t* slotOfRow;      // [N]
  int32_t* ends;           // [E]
  int32_t* counts;         // [sortTiles(N), E], scratch
  int64_t slots;           // N
  int64_t experts;         // E
};

/** Stretches of slots that are counted apart. */
int64_t sortTiles(int64_t slots);

void launchSortSlots(const SortSlots& sort, cudaStream_t stream);

}  // namespace switchyard::cuda

#include "slots.h"

namespace switchyard {

SortedSlots sortSlots(const at::Tensor& indices, int64_t numExperts) {
  const at::Tensor contiguous = indices.contiguous();
  const auto* experts = contiguous.data_ptr<int64_t>();
  const int64_t slots = contiguous.numel();
  SortedSlots sorted;
  sorted.offsets.assign(numExperts + 1, 0);
  for (int64_t slot = 0; slot < slots; slot++) {
    TORCH_CHECK(experts[slot] < numExperts, "index ", experts[slot], " is no expert of ", numExperts);
    if (experts[slot] >= 0) sorted.offsets[experts[slot] + 1]++;
  }
  for (int64_t e = 0; e < numExperts; e++) sorted.offsets[e + 1] += sorted.offsets[e];
  std::vector<int64_t> next(sorted.offsets.begin(), sorted.offsets.end() - 1);
  sorted.slotOfRow.resize(sorted.offsets[numExperts]);
  sorted.rowOfSlot.assign(slots, -1);
  for (int64_t slot = 0; slot < slots; slot++) {
    if (experts[slot] < 0) continue;
    const int64_t row = next[experts[slot]]++;
    sorted.slotOfRow[row] = slot;
    sorted.rowOfSlot[slot] = row;
  }
  return sorted;
}

}  // namespace switchyard

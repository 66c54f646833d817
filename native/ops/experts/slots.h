// Slots (token, choice) sorted by expert.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace switchyard {

/** The filled slots in expert order: rows offsets[e] .. offsets[e + 1] belong to expert e. */
struct SortedSlots {
  std::vector<int64_t> offsets;    // [E + 1]
  std::vector<int64_t> slotOfRow;  // [N], slot = token * K + choice
  std::vector<int64_t> rowOfSlot;  // [T * K], -1 where a slot is empty

  int64_t rows() const { return static_cast<int64_t>(slotOfRow.size()); }
};

/** Counting sort, stable: rows of one expert keep the order of slots. `indices` i64 [T, K], -1 for none. */
SortedSlots sortSlots(const at::Tensor& indices, int64_t numExperts);

}  // namespace switchyard

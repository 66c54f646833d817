// Many tensors in one launch: a table of them travels in the kernel's arguments, and each block finds its stretch in it. A
// captured graph keeps the arguments, so that nothing has to outlive the call.
#pragma once

#include <vector>

#include "../common/device.cuh"

namespace switchyard::cuda {

/** Elements that one block works on. */
constexpr int64_t kStretch = 16384;

/** Arguments of a kernel may take 4 KB. */
constexpr int kTensorsPerLaunch = 48;

/** `Entry` has a `count` of elements. */
template <typename Entry>
struct TensorTable {
  Entry entries[kTensorsPerLaunch];
  int32_t firstBlocks[kTensorsPerLaunch + 1];  // of each entry
  int32_t size;

  /** The entry that a block works on, and where in it. */
  __device__ const Entry& find(unsigned block, int64_t* begin, int64_t* end) const {
    int low = 0, high = size - 1;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (static_cast<int>(block) < firstBlocks[middle]) {
        high = middle - 1;
      } else {
        low = middle;
      }
    }
    *begin = static_cast<int64_t>(static_cast<int>(block) - firstBlocks[low]) * kStretch;
    *end = *begin + kStretch < entries[low].count ? *begin + kStretch : entries[low].count;
    return entries[low];
  }
};

/** Calls `body(table, blocks)` for tables that hold all `entries` between them; those without elements are left out. */
template <typename Entry, typename Body>
void forEachTable(const std::vector<Entry>& entries, const Body& body) {
  TensorTable<Entry> table{};
  for (size_t i = 0; i < entries.size(); i++) {
    if (entries[i].count > 0) {
      table.entries[table.size] = entries[i];
      const int64_t blocks = table.firstBlocks[table.size] + ceilDiv(entries[i].count, kStretch);
      if (blocks > INT32_MAX) throw std::runtime_error("the tensors are too large for one launch");
      table.firstBlocks[++table.size] = static_cast<int32_t>(blocks);
    }
    const bool full = table.size == kTensorsPerLaunch || i + 1 == entries.size();
    if (!full || table.size == 0) continue;
    body(table, table.firstBlocks[table.size]);
    table.size = 0;
  }
}

}  // namespace switchyard::cuda

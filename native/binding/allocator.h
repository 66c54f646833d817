// The CPU allocator under libtorch: it counts, and keeps large blocks for the next tensor of their size.
#pragma once

#include <cstdint>

namespace switchyard {

struct MemoryCounts {
  int64_t live;    // bytes of all tensors' storages
  int64_t peak;    // the most that was live at once
  int64_t cached;  // bytes kept for reuse
};

/** Puts the allocator under libtorch. Storages made before keep their own. Safe to call again. */
void installAllocator();

MemoryCounts memoryCounts();

/** The peak counts anew from what is live. */
void resetPeakBytes();

/** Gives cached blocks back to the system. */
void emptyCache();

/** No more than so many bytes are kept for reuse until unlimitCache() is told the same; of several limits the lowest holds. */
void limitCache(int64_t bytes);
void unlimitCache(int64_t bytes);

}  // namespace switchyard

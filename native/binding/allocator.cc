#include "allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "../ops/common/version.h"

namespace switchyard {
namespace {

// glibc gives large blocks back to the kernel at once, so that each large temporary of a training step page-faults
// anew: a fifth of a step's time. Blocks from 256 kB on are kept instead, by rounded size, as libtorch does on CUDA.
constexpr size_t kSmallestCached = 256 << 10;

/** Rounds up to an eighth of the size's power of two: at most 12.5% more than asked for, and few different sizes. */
size_t roundedSize(size_t size) {
  if (size < kSmallestCached) return size;
  size_t step = kSmallestCached / 8;
  while (step * 16 <= size) step *= 2;
  return (size + step - 1) / step * step;
}

/** Free blocks by size. */
class BlockCache {
 public:
  void* take(size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = blocks_.find(size);
    if (found == blocks_.end() || found->second.empty()) return nullptr;
    void* block = found->second.back();
    found->second.pop_back();
    bytes_ -= size;
    return block;
  }

  /** False when the cache is full; then the block is the caller's to free. */
  bool keep(void* block, size_t size, size_t limit) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (bytes_ + size > limit) return false;
    blocks_[size].push_back(block);
    bytes_ += size;
    return true;
  }

  void clear() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto& [size, list] : blocks_) {
      for (void* block : list) c10::free_cpu(block);
    }
    blocks_.clear();
    bytes_ = 0;
  }

  size_t bytes() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return bytes_;
  }

 private:
  std::mutex mutex_;
  std::map<size_t, std::vector<void*>> blocks_;
  size_t bytes_ = 0;
};

std::atomic<int64_t> liveBytes{0};
std::atomic<int64_t> peakBytes{0};

BlockCache& cache() {
  static auto* made = new BlockCache();  // never destroyed: storages may outlive static objects
  return *made;
}

/** More is never kept, whatever the slack. */
std::atomic<int64_t> mostCached{std::numeric_limits<int64_t>::max()};

void countAllocation(int64_t size) {
  const int64_t now = liveBytes.fetch_add(size, std::memory_order_relaxed) + size;
  int64_t peak = peakBytes.load(std::memory_order_relaxed);
  while (now > peak && !peakBytes.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

/**
 * Phases of a step want different sizes, so that some slack saves most page faults: live and cached together may take
 * half as much again as the most that was ever live.
 */
size_t cacheLimit() {
  const int64_t limit = peakBytes.load(std::memory_order_relaxed) * 3 / 2 - liveBytes.load(std::memory_order_relaxed);
  return static_cast<size_t>(std::clamp<int64_t>(limit, 0, mostCached.load(std::memory_order_relaxed)));
}

/** The size a block was asked for with: what the system gives is a little more, never the next rounded size. */
size_t blockSize(void* block) {
  const size_t usable = malloc_usable_size(block);
  if (usable < kSmallestCached) return usable;
  size_t step = kSmallestCached / 8;
  while (step * 16 <= usable) step *= 2;
  return usable / step * step;
}

void release(void* block) {
  if (block == nullptr) return;
  const size_t size = blockSize(block);
  liveBytes.fetch_sub(static_cast<int64_t>(size), std::memory_order_relaxed);
  if (size < kSmallestCached || !cache().keep(block, size, cacheLimit())) c10::free_cpu(block);
}

/** Blocks from this size on lie in pages of 2 MB, of which the system clears and maps one as quickly as a few small ones. */
constexpr size_t kSmallestHuge = 8 << 20;

/** A block from the system. */
void* freshBlock(size_t size) {
  void* block = c10::alloc_cpu(size);
  if (size >= kSmallestHuge) {
    static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(block) + page - 1) / page * page;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(block) + size) / page * page;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // a wish: small pages serve as well
  }
  return block;
}

void* allocate(size_t size) {
  if (size == 0) return nullptr;
  const size_t rounded = roundedSize(size);
  void* block = rounded >= kSmallestCached ? cache().take(rounded) : nullptr;
  if (block == nullptr) {
    try {
      block = freshBlock(rounded);
    } catch (...) {
      cache().clear();  // perhaps the blocks kept are what is missing
      block = freshBlock(rounded);
    }
  }
  countAllocation(static_cast<int64_t>(blockSize(block)));
  return block;
}

class CachingAllocator final : public c10::Allocator {
 public:
#if SWITCHYARD_TORCH_AT_LEAST(2, 3)
  c10::DataPtr allocate(size_t size) override { return make(size); }
#else
  c10::DataPtr allocate(size_t size) const override { return make(size); }
#endif

  c10::DeleterFnPtr raw_deleter() const override { return &release; }

#if SWITCHYARD_TORCH_AT_LEAST(2, 1)
  void copy_data(void* to, const void* from, size_t size) const override { default_copy_data(to, from, size); }
#endif

 private:
  static c10::DataPtr make(size_t size) {
    void* data = switchyard::allocate(size);
    return {data, data, &release, c10::Device(c10::DeviceType::CPU)};
  }
};

}  // namespace

void installAllocator() {
  static CachingAllocator allocator;
  c10::SetCPUAllocator(&allocator, 1);
}

MemoryCounts memoryCounts() {
  return {liveBytes.load(), peakBytes.load(), static_cast<int64_t>(cache().bytes())};
}

void resetPeakBytes() { peakBytes = liveBytes.load(); }

void emptyCache() { cache().clear(); }

namespace {

std::mutex limitsMutex;
std::multiset<int64_t> limits;  // of whoever asked for one

// Without limits glibc comes to take ever larger blocks from its heap, where those that were given back leave holes: in a
// prompt of 4,096 tokens twice what was in use.
void applyLimits() {
  constexpr int kMostFromHeap = 32 << 20;
  mallopt(M_MMAP_THRESHOLD, limits.empty() ? kMostFromHeap : static_cast<int>(kSmallestCached));
  mostCached = limits.empty() ? std::numeric_limits<int64_t>::max() : *limits.begin();
  cache().clear();
}

}  // namespace

void limitCache(int64_t bytes) {
  const std::lock_guard<std::mutex> lock(limitsMutex);
  limits.insert(bytes);
  applyLimits();
}

void unlimitCache(int64_t bytes) {
  const std::lock_guard<std::mutex> lock(limitsMutex);
  const auto found = limits.find(bytes);
  if (found != limits.end()) limits.erase(found);
  applyLimits();
}

}  // namespace switchyard

#include "machine.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "fiber.h"

namespace emulation {

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

constexpr int kNaN = 0xff;  // in every byte

/** Opens when `expected` threads have come. */
struct Barrier {
  unsigned expected = 0;
  unsigned arrived = 0;
  uint64_t openings = 0;
};

struct Warp {
  Barrier barrier;
  uint64_t handed[2][32];  // by turns, since a thread may hand over again while others still read
};

struct Thread {
  Fiber fiber;
  bool finished = true;
  const Barrier* awaited = nullptr;
  uint64_t openingsBefore = 0;

  bool canRun() const { return !finished && (awaited == nullptr || awaited->openings != openingsBefore); }
};

/** A permutation of 0..count-1 in the wanted order. */
std::vector<unsigned> permutation(unsigned count, Order order) {
  std::vector<unsigned> items(count);
  std::iota(items.begin(), items.end(), 0u);
  if (order == Order::Backward) std::reverse(items.begin(), items.end());
  if (order == Order::Shuffled) std::shuffle(items.begin(), items.end(), std::mt19937(count));
  return items;
}

class Machine {
 public:
  Order order = Order::Forward;
  std::vector<uint64_t> shared;  // the launch's; of 8 bytes, for their alignment
  std::map<void*, size_t> staticShared;

  void run(dim3 grid, dim3 block, size_t sharedBytes, const std::function<void()>& body) {
    shared.resize(sharedBytes / sizeof(uint64_t) + 2);
    gridDim = grid;
    blockDim = block;
    prepare(block.x);
    for (const unsigned index : permutation(grid.x * grid.y, order)) {
      blockIdx = dim3(index % grid.x, index / grid.x);
      runBlock(body);
    }
  }

  void syncBlock() { arrive(block_); }

  void syncWarp(unsigned mask) {
    if (mask != 0xffffffffu) throw std::logic_error("emulation: only whole warps can wait for each other");
    arrive(warps_[threadIdx.x / 32].barrier);
  }

  const uint64_t* exchange(unsigned mask, uint64_t bits) {
    Warp& warp = warps_[threadIdx.x / 32];
    uint64_t* handed = warp.handed[warp.barrier.openings % 2];
    handed[threadIdx.x % 32] = bits;
    syncWarp(mask);
    return handed;
  }

 private:
  void prepare(unsigned threads) {
    if (threads == 0 || threads % 32 != 0 || threads > 1024) {
      throw std::logic_error("emulation: a block has whole warps and at most 1024 threads, not " +
                             std::to_string(threads));
    }
    while (threads_.size() < threads) threads_.push_back(std::make_unique<Thread>());
    warps_.assign(threads / 32, Warp());
    for (Warp& warp : warps_) warp.barrier.expected = 32;
    block_ = Barrier();
    block_.expected = threads;
    turns_.clear();
    for (const unsigned warp : permutation(threads / 32, order)) {
      for (const unsigned lane : permutation(32, order)) turns_.push_back(warp * 32 + lane);
    }
  }

  void spoilShared() {
    std::memset(shared.data(), kNaN, shared.size() * sizeof(uint64_t));
    for (const auto& [memory, bytes] : staticShared) std::memset(memory, kNaN, bytes);
  }

  void runBlock(const std::function<void()>& body) {
    spoilShared();
    for (const unsigned index : turns_) {
      threads_[index]->finished = false;
      threads_[index]->awaited = nullptr;
    }
    for (size_t left = turns_.size(); left > 0;) {
      size_t ran = 0;
      for (size_t warp = 0; warp < turns_.size(); warp += 32) {
        // A warp goes on as long as it can, so that it is far ahead of others wherever that may be.
        for (size_t turns = 1; turns > 0; ran += turns) turns = runWarp(warp, body, &left);
      }
      if (ran == 0) giveUp();
    }
  }

  /** Gives each thread of a warp that can run one turn; returns how many could. */
  size_t runWarp(size_t firstTurn, const std::function<void()>& body, size_t* left) {
    size_t ran = 0;
    for (size_t turn = firstTurn; turn < firstTurn + 32; turn++) {
      if (!threads_[turns_[turn]]->canRun()) continue;
      ran++;
      *left -= resume(turns_[turn], body);
    }
    return ran;
  }

  /** Runs a thread until it waits or ends; returns whether it ended. */
  bool resume(unsigned index, const std::function<void()>& body) {
    running_ = threads_[index].get();
    running_->awaited = nullptr;
    threadIdx = dim3(index, 0, 0);
    running_->finished = running_->fiber.resume(body);
    return running_->finished;
  }

  void arrive(Barrier& barrier) {
    if (++barrier.arrived == barrier.expected) {
      barrier.arrived = 0;
      barrier.openings++;
      return;
    }
    running_->awaited = &barrier;
    running_->openingsBefore = barrier.openings;
    const dim3 self = threadIdx;
    running_->fiber.suspend();
    threadIdx = self;
  }

  [[noreturn]] void giveUp() {
    threads_.clear();
    throw std::logic_error("emulation: threads wait at a barrier that others of their block never reach");
  }

  std::vector<std::unique_ptr<Thread>> threads_;  // kept from launch to launch
  std::vector<Warp> warps_;
  std::vector<unsigned> turns_;  // threads in order, warp by warp
  Barrier block_;
  Thread* running_ = nullptr;
};

Machine& machine() {
  static thread_local Machine machine;
  return machine;
}

}  // namespace

void setOrder(Order order) { machine().order = order; }

void run(dim3 grid, dim3 block, size_t sharedBytes, const std::function<void()>& thread) {
  if (grid.x > 0 && grid.y > 0) machine().run(grid, block, sharedBytes, thread);
}

unsigned char* dynamicShared() {
  const auto start = reinterpret_cast<uintptr_t>(machine().shared.data());
  return reinterpret_cast<unsigned char*>((start + 15) / 16 * 16);
}

bool noteShared(void* memory, size_t bytes) {
  machine().staticShared.emplace(memory, bytes);
  std::memset(memory, kNaN, bytes);
  return true;
}

void syncBlock() { machine().syncBlock(); }

void syncWarp(unsigned mask) { machine().syncWarp(mask); }

const uint64_t* exchangeBits(unsigned mask, uint64_t bits) { return machine().exchange(mask, bits); }

}  // namespace emulation

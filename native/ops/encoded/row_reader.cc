#include "row_reader.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "packing.h"
#include "row_type.h"

namespace switchyard {
namespace {

/** Reads in flight: one is decoded while the disk works on the other. */
constexpr int kReaders = 2;

/** What reads around the page cache have to be aligned to. */
constexpr int64_t kPage = 4096;

/** Bytes at an address that any file can be read to. */
class AlignedBytes {
 public:
  uint8_t* take(int64_t count) {
    if (count > size_) {
      const int64_t rounded = (count + kPage - 1) / kPage * kPage;
      size_ = 0;
      bytes_.reset(static_cast<uint8_t*>(std::aligned_alloc(kPage, rounded)));
      TORCH_CHECK(bytes_ != nullptr, "no memory for a read of ", count, " bytes");
      size_ = rounded;
    }
    return bytes_.get();
  }

 private:
  struct Free {
    void operator()(uint8_t* bytes) const { std::free(bytes); }
  };
  std::unique_ptr<uint8_t, Free> bytes_;
  int64_t size_ = 0;
};

void readFully(int file, int64_t offset, int64_t least, int64_t most, uint8_t* to) {
  for (int64_t done = 0; done < least;) {
    const ssize_t got = pread(file, to + done, most - done, offset + done);
    if (got < 0 && errno == EINTR) continue;
    TORCH_CHECK(got >= 0, "reading ", most, " bytes at ", offset, ": ", std::strerror(errno));
    TORCH_CHECK(got > 0, "the file ends at ", offset + done, ", before the ", least, " bytes at ", offset);
    done += got;
  }
}

/** Where the page cache is bypassed, whole pages around the range are read. */
void readRange(const FileRange& range, uint8_t* to, AlignedBytes& pages) {
  const int flags = fcntl(range.file, F_GETFL);
  TORCH_CHECK(flags >= 0, "the file is closed");
  if ((flags & O_DIRECT) == 0) return readFully(range.file, range.offset, range.bytes, range.bytes, to);
  const int64_t begin = range.offset / kPage * kPage, lead = range.offset - begin;
  const int64_t whole = (lead + range.bytes + kPage - 1) / kPage * kPage;
  uint8_t* around = pages.take(whole);
  readFully(range.file, begin, lead + range.bytes, whole, around);
  std::memcpy(to, around + lead, range.bytes);
}

struct Read {
  at::Tensor to;
  const PanelType* panels;
  const Packing* packing;
  FileRows from;
  Urgency urgency;
  bool isDone = false;
  std::string error;
};

/** Rows that the ranges have. Throws c10::Error where they are not of whole rows. */
int64_t rowsOf(const Read& read) {
  const std::vector<FileRange>& ranges = read.from.ranges;
  const Packing* packing = read.packing;
  const int64_t rowBytes = read.to.size(1), step = packing == nullptr ? 1 : 2;
  const int64_t blocks = packing == nullptr ? 1 : rowBytes / packing->blockBytes;
  const int64_t perRow = packing == nullptr ? rowBytes : blocks * packing->valueBytes;
  TORCH_CHECK(ranges.size() % step == 0 && (packing == nullptr || rowBytes % packing->blockBytes == 0),
              "ranges of a file do not fit ", read.to.sizes());
  int64_t bytes = 0;
  for (size_t i = 0; i < ranges.size(); i += step) {
    const FileRange& values = ranges[i];
    TORCH_CHECK(values.offset >= 0 && values.bytes >= 0 && values.bytes <= read.to.numel() - bytes,
                "ranges of a file do not fit ", read.to.sizes());
    bytes += values.bytes;
    if (packing == nullptr) continue;
    const FileRange& scales = ranges[i + 1];
    TORCH_CHECK(values.bytes % perRow == 0 && scales.offset >= 0 &&
                    scales.bytes == packing->scalesOf(values.bytes / perRow, blocks),
                "scales of ", scales.bytes, " bytes do not fit values of ", values.bytes);
  }
  TORCH_CHECK(bytes % perRow == 0, "ranges of ", bytes, " bytes are not ", read.to.sizes());
  return bytes / perRow;
}

using ReadPointer = std::shared_ptr<Read>;
using Lock = std::unique_lock<std::mutex>;

class Readers {
 public:
  int64_t start(ReadPointer read) {
    const Lock lock(mutex_);
    TORCH_CHECK(!isStopped_, "the process ends");
    for (; threads_ < kReaders; threads_++) std::thread([this] { work(); }).detach();
    queueOf(read->urgency).push_back(read);
    reads_[++last_] = std::move(read);
    wake_.notify_one();
    return last_;
  }

  void finish(int64_t ticket) {
    Lock lock(mutex_);
    const ReadPointer read = find(ticket);
    makeNeeded(read);
    reads_.erase(ticket);
    ended_.wait(lock, [&] { return read->isDone; });
    TORCH_CHECK(read->error.empty(), read->error);
  }

  void hurry(int64_t ticket) {
    const Lock lock(mutex_);
    makeNeeded(find(ticket));
  }

  bool cancel(int64_t ticket) {
    const Lock lock(mutex_);
    const bool isCancelled = unqueue(find(ticket));
    if (isCancelled) reads_.erase(ticket);
    return isCancelled;
  }

  /** Gives up what waits, and waits for what is under way: reads must not outlive what they write to. */
  void stop() {
    Lock lock(mutex_);
    isStopped_ = true;
    for (auto& queue : queues_) {
      for (const ReadPointer& read : queue) end(read, "the process ends");
      queue.clear();
    }
    ended_.wait(lock, [&] { return active_ == 0; });
  }

  bool hasEnded(int64_t ticket) {
    const Lock lock(mutex_);
    return find(ticket)->isDone;
  }

 private:
  std::deque<ReadPointer>& queueOf(Urgency urgency) { return queues_[static_cast<size_t>(urgency)]; }

  ReadPointer find(int64_t ticket) const {
    const auto found = reads_.find(ticket);
    TORCH_CHECK(found != reads_.end(), "there is no read ", ticket);
    return found->second;
  }

  /** Whether it waited still. */
  bool unqueue(const ReadPointer& read) {
    auto& queue = queueOf(read->urgency);
    const auto place = std::find(queue.begin(), queue.end(), read);
    if (place == queue.end()) return false;
    queue.erase(place);
    return true;
  }

  void makeNeeded(const ReadPointer& read) {
    if (read->urgency == Urgency::kNeeded || !unqueue(read)) return;
    read->urgency = Urgency::kNeeded;
    queueOf(Urgency::kNeeded).push_back(read);
    wake_.notify_one();
  }

  /** The most urgent read; null when there is none that may begin: one reader is always left for what is needed. */
  ReadPointer take() {
    for (auto& queue : queues_) {
      if (queue.empty()) continue;
      const bool isAhead = queue.front()->urgency != Urgency::kNeeded;
      if (isAhead && ahead_ == kReaders - 1) return nullptr;
      ReadPointer read = queue.front();
      queue.pop_front();
      ahead_ += isAhead;
      active_++;
      return read;
    }
    return nullptr;
  }

  ReadPointer next() {
    Lock lock(mutex_);
    ReadPointer read;
    wake_.wait(lock, [&] { return (read = take()) != nullptr; });
    return read;
  }

  void work() {
    Room room;
    for (;;) {
      const ReadPointer read = next();
      std::string error;
      try {
        perform(*read, room);
      } catch (const c10::Error& caught) {
        error = caught.msg();
      } catch (const std::exception& caught) {
        error = caught.what();
      }
      const Lock lock(mutex_);
      end(read, error);
      active_--;
      if (read->urgency == Urgency::kNeeded) continue;
      ahead_--;
      wake_.notify_one();
    }
  }

  /** Whoever waits for it goes on. */
  void end(const ReadPointer& read, const std::string& error) {
    read->error = error;
    read->isDone = true;
    read->to.reset();
    ended_.notify_all();
  }

  /** A reader's own, which grows to what its largest matrix takes. */
  struct Room {
    AlignedBytes pages, file, packed, ordered;
  };

  /** A matrix takes up to three steps from the file's bytes to its place, the last of them straight into it. */
  static void perform(Read& read, Room& room) {
    const int64_t rowBytes = read.to.size(1), rows = rowsOf(read);
    auto* to = read.to.data_ptr<uint8_t>();
    const auto placeOf = [&](bool isLast, AlignedBytes& own) { return isLast ? to : own.take(rows * rowBytes); };
    const bool isOrdered = !read.from.alternating, isPlain = read.panels == nullptr;
    uint8_t* at = placeOf(isOrdered && isPlain, room.packed);
    if (read.packing == nullptr) readAll(read.from.ranges, at, room);
    else readPacked(read, at, room);
    if (!isOrdered) {
      uint8_t* ordered = placeOf(isPlain, room.ordered);
      for (int64_t row = 0; row < rows; row++) {
        std::memcpy(ordered + (row % 2 * (rows / 2) + row / 2) * rowBytes, at + row * rowBytes, rowBytes);
      }
      at = ordered;
    }
    if (!isPlain) interleave(*read.panels, at, rows, rowBytes, to);
  }

  static void readAll(const std::vector<FileRange>& ranges, uint8_t* to, Room& room) {
    for (const FileRange& range : ranges) {
      readRange(range, to, room.pages);
      to += range.bytes;
    }
  }

  static void readPacked(const Read& read, uint8_t* to, Room& room) {
    const Packing& packing = *read.packing;
    const int64_t blocks = read.to.size(1) / packing.blockBytes;
    for (size_t i = 0; i + 1 < read.from.ranges.size(); i += 2) {
      const FileRange &values = read.from.ranges[i], &scales = read.from.ranges[i + 1];
      const int64_t rows = values.bytes / (blocks * packing.valueBytes);
      uint8_t* bytes = room.file.take(values.bytes + scales.bytes);
      readAll({values, scales}, bytes, room);
      packRows(packing, {bytes, bytes + values.bytes, rows, blocks}, to);
      to += rows * read.to.size(1);
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, ended_;
  std::array<std::deque<ReadPointer>, 3> queues_;  // by urgency
  std::map<int64_t, ReadPointer> reads_;
  int64_t last_ = 0;
  bool isStopped_ = false;
  int active_ = 0;  // reads under way
  int ahead_ = 0;   // of those that are being read, the ones that nobody needs yet
  int threads_ = 0;
};

/** Never destroyed, as its threads may outlive everything else of the process; but they rest from its exit on. */
Readers& readers() {
  static Readers* all = [] {
    std::atexit([] { readers().stop(); });
    return new Readers;
  }();
  return *all;
}

}  // namespace

int64_t startRead(const at::Tensor& to, const std::string& type, const FileRows& from, Urgency urgency) {
  const RowType& kind = rowTypeOf(type);
  TORCH_CHECK(to.scalar_type() == at::kByte && to.dim() == 2 && to.size(1) > 0 && to.size(1) % kind.bytes == 0 && to.is_contiguous() && to.is_cpu(),
              "rows of ", type, " are read into u8 [O, bytes], contiguous on the cpu, not ", to.scalar_type(), " ", to.sizes());
  auto read = std::make_shared<Read>();
  read->urgency = urgency;
  read->to = to;
  read->panels = kind.panels;
  read->packing = packingOf(from.packing);
  read->from = from;
  const int64_t rows = rowsOf(*read);
  const int64_t wanted = kind.panels == nullptr ? rows : (rows + kPanel - 1) / kPanel * kPanel;
  TORCH_CHECK(wanted == to.size(0) && (!from.alternating || rows % 2 == 0), "ranges of ", rows, " rows are not ", to.sizes());
  return readers().start(std::move(read));
}

void finishRead(int64_t ticket) { readers().finish(ticket); }
void hurryRead(int64_t ticket) { readers().hurry(ticket); }
bool cancelRead(int64_t ticket) { return readers().cancel(ticket); }
bool hasRead(int64_t ticket) { return readers().hasEnded(ticket); }

}  // namespace switchyard

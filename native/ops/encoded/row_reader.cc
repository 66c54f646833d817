#include "row_reader.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

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
  std::vector<FileRange> ranges;
  bool isDone = false;
  std::string error;
};

class Readers {
 public:
  int64_t start(std::shared_ptr<Read> read) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (; threads_ < kReaders; threads_++) std::thread([this] { work(); }).detach();
    queue_.push_back(read);
    reads_[++last_] = std::move(read);
    wake_.notify_one();
    return last_;
  }

  void finish(int64_t ticket) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto found = reads_.find(ticket);
    TORCH_CHECK(found != reads_.end(), "there is no read ", ticket);
    const std::shared_ptr<Read> read = found->second;
    reads_.erase(found);
    ended_.wait(lock, [&] { return read->isDone; });
    TORCH_CHECK(read->error.empty(), read->error);
  }

 private:
  std::shared_ptr<Read> next() {
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, [&] { return !queue_.empty(); });
    std::shared_ptr<Read> read = queue_.front();
    queue_.pop_front();
    return read;
  }

  void work() {
    AlignedBytes rows, pages;
    for (;;) {
      const std::shared_ptr<Read> read = next();
      std::string error;
      try {
        perform(*read, rows, pages);
      } catch (const c10::Error& caught) {
        error = caught.msg();
      } catch (const std::exception& caught) {
        error = caught.what();
      }
      const std::lock_guard<std::mutex> lock(mutex_);
      read->error = error;
      read->isDone = true;
      read->to.reset();
      ended_.notify_all();
    }
  }

  static void perform(Read& read, AlignedBytes& rows, AlignedBytes& pages) {
    int64_t bytes = 0;
    for (const FileRange& range : read.ranges) bytes += range.bytes;
    const int64_t rowBytes = read.to.size(1);
    auto* to = read.to.data_ptr<uint8_t>();
    uint8_t* at = read.panels == nullptr ? to : rows.take(bytes);
    for (const FileRange& range : read.ranges) {
      readRange(range, at, pages);
      at += range.bytes;
    }
    if (read.panels != nullptr) interleave(*read.panels, at - bytes, bytes / rowBytes, rowBytes, to);
  }

  std::mutex mutex_;
  std::condition_variable wake_, ended_;
  std::deque<std::shared_ptr<Read>> queue_;
  std::map<int64_t, std::shared_ptr<Read>> reads_;
  int64_t last_ = 0;
  int threads_ = 0;
};

/** Never destroyed: its threads may outlive everything else of the process. */
Readers& readers() {
  static Readers* all = new Readers;
  return *all;
}

}  // namespace

int64_t startRead(const at::Tensor& to, const std::string& type, const std::vector<FileRange>& ranges) {
  const RowType& kind = rowTypeOf(type);
  TORCH_CHECK(to.scalar_type() == at::kByte && to.dim() == 2 && to.size(1) > 0 && to.size(1) % kind.bytes == 0 && to.is_contiguous() && to.is_cpu(),
              "rows of ", type, " are read into u8 [O, bytes], contiguous on the cpu, not ", to.scalar_type(), " ", to.sizes());
  int64_t bytes = 0;
  for (const FileRange& range : ranges) {
    TORCH_CHECK(range.offset >= 0 && range.bytes >= 0 && range.bytes <= to.numel() - bytes,
                "ranges of a file do not fit ", to.sizes());
    bytes += range.bytes;
  }
  const int64_t rows = bytes / std::max<int64_t>(1, to.size(1));
  const int64_t wanted = kind.panels == nullptr ? rows : (rows + kPanel - 1) / kPanel * kPanel;
  TORCH_CHECK(rows * to.size(1) == bytes && wanted == to.size(0), "ranges of ", bytes, " bytes are not ", to.sizes());
  auto read = std::make_shared<Read>();
  read->to = to;
  read->panels = kind.panels;
  read->ranges = ranges;
  return readers().start(std::move(read));
}

void finishRead(int64_t ticket) { readers().finish(ticket); }

}  // namespace switchyard

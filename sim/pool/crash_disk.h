// CrashDisk: a disk that writes down what was done to it, so that its content at any crash can be made afterwards:
// the run goes on, and each moment of it becomes as many crashed disks as are wanted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/endian.h"
#include "base/prng.h"
#include "block/leaf_device.h"
#include "sim/pool/crash_faults.h"

namespace holdfast::sim {

// The content of a disk. Copies share pages.
class DiskImage {
 public:
  static constexpr std::size_t page_bytes = 4096;
  static constexpr std::size_t sector_bytes = 512;
  using Page = std::array<std::byte, page_bytes>;

  explicit DiskImage(std::uint64_t bytes = 0) : pages_(bytes / page_bytes) {}
  std::uint64_t size() const noexcept { return pages_.size() * page_bytes; }
  void resize(std::uint64_t bytes) { pages_.resize(bytes / page_bytes); }
  void read(std::uint64_t offset, std::span<std::byte> into) const noexcept;
  void write(std::uint64_t offset, std::span<const std::byte> from);
  // Every page from `offset` on that was never written becomes this one.
  void fill(std::uint64_t offset, const Page& page);

 private:
  std::vector<std::shared_ptr<Page>> pages_;  // nullptr: zeroes
};

// Counts the beginnings and ends of operations. A crash is at a moment: what has ended before it has happened, what
// has begun before it may have happened in part.
using Moment = std::uint64_t;
inline constexpr Moment never = std::numeric_limits<Moment>::max();

struct DiskEvent {
  bool flush = false;
  bool durable = false;  // a write that is durable when it has ended
  std::uint64_t offset = 0;
  std::vector<std::byte> content;  // of writes, and of what a discard leaves
  Moment begun = 0;
  Moment ended = never;
  // Of a write that failed and may get to the disk all the same: when it ends is when it does, and from `rewritten` on,
  // when something else is written to its place, it never does.
  bool late = false;
  Moment rewritten = never;
  Moment dropped = never;   // a flush failed then, and this is out of the cache: no flush covers it
  Moment restored = never;  // ... until then, when the user had looked after the disk
};

// A piece of a write that failed and is still on its way.
struct LateWrite {
  std::uint64_t offset = 0;
  std::vector<std::byte> content;  // a page at most
  std::uint64_t after = 0;         // it gets there when so many operations of its disk have begun
};

// A disk after a crash.
struct CrashedDisk {
  DiskImage image;
  std::vector<LateWrite> late;
};

// All disks of a machine write into one log.
class CrashLog {
 public:
  Moment now() const noexcept { return now_; }
  Moment tick() noexcept { return ++now_; }

 private:
  Moment now_ = 0;
};

enum class Crash : std::uint8_t {
  process,     // what has ended is there; of what is under way each sector or not
  power_none,  // nothing that is not durable is there
  power_all,   // everything is there
  power_ops,   // each operation, as a whole, or not
  power_4k,    // each 4 KiB has any of the contents since it was durable
  power_512,   // each sector has; sectors of metadata may be garbage
};
inline constexpr Crash crashes[] = {Crash::process,   Crash::power_none, Crash::power_all,
                                    Crash::power_ops, Crash::power_4k,   Crash::power_512};
const char* name(Crash crash) noexcept;

class CrashDisk final : public LeafDevice {
 public:
  // With a log operations take their turn and are written down; without one they are done at once. With faults, which
  // know the disk by its number, some fail. Both outlive it.
  CrashDisk(std::string name, const Cores& cores, DiskImage image, CrashLog* log,
            CrashFaults* faults = nullptr, std::size_t number = 0);
  // After a crash: no log, no faults.
  CrashDisk(std::string name, const Cores& cores, const CrashedDisk& crashed);

  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override;
  Task<void> close() override { co_return; }
  void grow(std::uint64_t bytes);

  // What is on it after a crash at that moment. `is_data` says of a sector that it is a volume's, whose torn
  // sectors are old or new and nothing else.
  CrashedDisk crashed(Moment at, Crash crash, Prng& random) const;
  const DiskImage& image() const noexcept { return image_; }
  // Moments at which something of this disk began or ended, from `from` on.
  void moments(Moment from, std::vector<Moment>& into) const;
  // The user looked after the disk: what failed flushes dropped is in its cache again.
  void restore();

 private:
  friend class CrashChannel;
  std::size_t begin(DiskEvent event);
  void end(std::size_t event);
  // An operation begins: what is late gets there, if it is its turn.
  void land();
  void will_land(LateWrite write);
  // What is late for this place never gets there.
  void rewrite(std::uint64_t offset, std::size_t bytes);
  std::vector<const DiskEvent*> happened(Moment at, Prng& random, std::vector<LateWrite>& late) const;
  bool is_durable(const DiskEvent& event, Moment at) const noexcept;
  // A flush failed: some of what it was to cover is out of the cache.
  void drop();

  CrashLog* const log_;
  CrashFaults* const faults_;
  const std::size_t number_;
  const DiskImage first_;
  DiskImage image_;
  struct Late {
    LateWrite write;
    std::size_t event = 0;  // with a log
  };
  std::vector<Late> late_;
  std::vector<DiskEvent> events_;
  std::vector<std::size_t> order_;  // events by their end
};

// What volumes write says whose it is, so that it is known wherever it turns up.
inline constexpr std::uint64_t data_magic = 0x6174'6164'2d66'6821;
// Zeroes are written to volumes, too.
inline bool is_data(std::span<const std::byte> sector) noexcept {
  const std::uint64_t begin = load<le64>(sector);
  return begin == data_magic || begin == 0;
}

}  // namespace holdfast::sim

// CrashFaults: what fails on the disks of a CrashRun. A fault is of some operations, at some place, on one disk; once, for
// some operations, or until it is lifted. A seed draws which of all that it has, and how often.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"

namespace holdfast::sim {

enum class DiskOperation : std::uint8_t { read, write, flush, discard };
inline constexpr unsigned disk_operation_count = 4;

struct CrashFault {
  static constexpr std::uint64_t lasting = std::numeric_limits<std::uint64_t>::max();

  std::size_t disk = 0;
  unsigned operations = 0;  // a bit for each DiskOperation
  // Bytes of the disk. A flush has no place: it fails whatever they are.
  std::uint64_t begin = 0;
  std::uint64_t end = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t pass = 0;  // so many that it is about go well first
  std::uint64_t fail = 1;  // then so many fail; `lasting`: all of them until it is lifted

  bool is_about(DiskOperation operation) const noexcept {
    return (operations >> static_cast<unsigned>(operation) & 1) != 0;
  }
};
std::string text_of(const CrashFault& fault);

class CrashFaults {
 public:
  // Of one disk, since it was made.
  struct Counts {
    std::uint64_t reads = 0;
    std::uint64_t changes = 0;  // writes, flushes, discards
  };

  explicit CrashFaults(std::uint64_t seed);

  void add(const CrashFault& fault);
  // Perhaps one more, on one of the first `disks`; disk 0 has its journal in [journal_begin, journal_end).
  void draw(std::size_t disks, std::uint64_t journal_begin, std::uint64_t journal_end);
  // Nothing fails from now on.
  void lift() noexcept { faults_.clear(); }
  // Something fails, or may.
  bool any() const noexcept;

  // Whether this operation, which begins, fails; of bytes [begin, end). Counts for the faults that are about it.
  bool fails(std::size_t disk, DiskOperation operation, std::uint64_t begin, std::uint64_t end);
  // What of a failing write of that many sectors gets to the disk: by sector.
  std::vector<bool> kept(std::size_t sectors);
  // After how many more operations of its disk a page of a failing write that did not get there does so all the same;
  // nullopt: never. Until then, and where that place is written again before, the page is as it was.
  std::optional<std::uint64_t> lands_after();
  // Whether something that a failing flush was to cover is out of the disk's cache now.
  bool drops() { return drops_ && drop_random_.chance(1, 2); }
  // One has ended with its error. `durable`: a write whose flush may be what failed.
  void failed(std::size_t disk, DiskOperation operation, bool durable = false);

  Counts counts(std::size_t disk) const noexcept { return disk < counts_.size() ? counts_[disk] : Counts(); }
  std::uint64_t failures() const noexcept { return failures_; }
  std::uint64_t failed_flushes() const noexcept { return failed_flushes_; }

 private:
  Prng random_;
  Prng drop_random_;  // its own, so that the other draws of a seed stay
  // What this seed has.
  std::uint32_t one_in_;         // operations of the run
  std::vector<unsigned> kinds_;  // sets of disk operations
  bool commits_;                 // single commits, besides
  bool places_[4];               // whole disk, label, journal, data
  bool lengths_[3];              // once, some, lasting
  bool late_;                    // what failed may come later
  bool drops_;                   // a failing flush may lose what it was to cover
  std::vector<CrashFault> faults_;
  std::vector<Counts> counts_;
  std::uint64_t failures_ = 0;
  std::uint64_t failed_flushes_ = 0;
};

}  // namespace holdfast::sim

// SimDisk: a simulated disk behind rt's File interface, with a volatile cache, latency, and faults.
//
// An operation takes effect at one moment between its start and its end, sector by sector in one go. A write
// reaches the cache; sync, or a durable write, makes durable. What may be lost:
//   process crash  operations that took effect stay; of those in flight each sector happens or not;
//   power loss     besides that, each sector that is not durable becomes, independently of all others, any of
//                  the contents it had since it was durable last, or garbage.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/prng.h"
#include "rt/io.h"
#include "rt/time.h"
#include "sim/sparse_bytes.h"

namespace holdfast::sim {

class Process;
class SimDisk;
class SimReactor;
class World;

struct DiskOptions {
  std::uint64_t size_bytes = 16 << 20;
  std::uint32_t sector_bytes = 512;
  bool volatile_cache = true;  // false: what took effect is durable
  enum class Discarded : std::uint8_t { zeroes, garbage, old };
  Discarded discarded = Discarded::zeroes;  // garbage: new garbage for each sector, chosen at the discard
  bool can_discard = true;
  bool can_write_zeroes = true;
  Nanos read_latency{80'000};  // the mean; each operation takes a quarter to seven quarters of it
  Nanos write_latency{40'000};
  Nanos sync_latency{400'000};
  unsigned tail_per_mille = 5;  // so many operations take 20 times as long
};

struct DiskFaults {
  unsigned read_error_per_mille = 0;
  unsigned write_error_per_mille = 0;  // a failed write leaves each sector old or new
  unsigned sync_error_per_mille = 0;
  bool failed = false;        // every operation ends with EIO, for good
  bool out_of_space = false;  // writes end with ENOSPC
  bool read_only = false;     // writes end with EROFS
  unsigned slowdown = 1;      // latencies are multiplied by it
  Nanos stalled_until{0};     // nothing takes effect before
  struct BadRange {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool reads = true;
    bool writes = false;
  };
  std::vector<BadRange> bad;  // EIO when the operation touches one
};

struct DiskStats {
  std::uint64_t reads = 0, writes = 0, syncs = 0, discards = 0, zeroes = 0, errors = 0;
  std::uint64_t written_bytes = 0;
};

class SimDisk {
 public:
  SimDisk(World& world, const DiskOptions& options);
  SimDisk(const SimDisk&) = delete;
  SimDisk& operator=(const SimDisk&) = delete;

  const DiskOptions& options() const noexcept { return options_; }
  DiskFaults& faults() noexcept { return faults_; }
  const DiskStats& stats() const noexcept { return stats_; }
  // Open files see it after File::refresh().
  void resize(std::uint64_t size_bytes);
  // What a read that started now would find; no latency, no faults.
  void peek(std::uint64_t offset, std::span<std::byte> into) const noexcept { bytes_.read(offset, into); }
  // Silent corruption, or test data: durable at once.
  void poke(std::uint64_t offset, std::span<const std::byte> from);
  std::size_t undurable_sectors() const noexcept { return undurable_.size(); }

  // The rest is for Node, SimReactor and SimFile.
  Result<std::unique_ptr<File>> open(SimReactor& reactor, const std::string& path,
                                     const OpenOptions& options);
  void process_died(const Process& process);
  void lose_power();
  // It is several devices: who has one of them exclusively does not keep others from it.
  void have_paths() noexcept { has_paths_ = true; }

 private:
  friend class SimFile;
  using Sector = std::vector<std::byte>;
  // Contents of a sector since it was durable last: that one first, the present one last.
  struct Version {
    std::uint64_t order;
    Sector content;
  };
  static constexpr std::uint64_t left_out = ~std::uint64_t{0};  // as an order: no sync covers it
  struct Pending {
    FileOp* op;
    SimReactor* reactor;
    std::uint64_t order;  // of the start: a sync covers what took effect before it
  };

  void start(FileOp& op, SimReactor& reactor);
  int refusal(const FileOp& op) const noexcept;  // errno at once, or 0
  Nanos latency(const FileOp& op);
  void take_effect(std::uint64_t id);
  std::int64_t perform(const Pending& p);
  int fault(const FileOp& op);
  std::int64_t read(const FileOp& op);
  template <class Choose>
  void change(const FileOp& op, bool durable, Choose choose);
  void put_sector(std::uint64_t sector, std::span<const std::byte> content, bool durable);
  void sync(std::uint64_t order);
  void leave_out(std::uint64_t order);
  void garbage(std::span<std::byte> into);

  World& world_;
  Prng random_;
  const DiskOptions options_;
  DiskFaults faults_;
  DiskStats stats_;
  SparseBytes bytes_;
  std::map<std::uint64_t, std::vector<Version>> undurable_;
  std::map<std::uint64_t, Pending> pending_;  // not yet taken effect
  std::map<std::uint64_t, std::pair<FileOp*, SimReactor*>> ending_;
  std::uint64_t order_ = 1;
  const Process* exclusive_ = nullptr;
  const File* exclusive_file_ = nullptr;
  bool has_paths_ = false;
};

}  // namespace holdfast::sim

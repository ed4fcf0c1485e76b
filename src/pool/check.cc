#include "pool/check.h"

#include <algorithm>
#include <set>
#include <utility>

#include "pool/disk_set.h"
#include "pool/invariants.h"

namespace holdfast::pool {
namespace {

constexpr std::size_t findings_max = 1000;

class Checker {
 public:
  Checker(DeviceRegistry& registry, bool keep_records, std::uint64_t map_bytes_max)
      : registry_(registry),
        home_(registry.cores().home()),
        keep_records_(keep_records),
        map_bytes_max_(map_bytes_max) {}

  Task<Status> run(const std::vector<std::string>& uris) {
    for (const std::string& uri : uris) {
      const bool path = uri.starts_with('/');
      const std::string read_only = path ? disk_uri(uri) + "?read_only" : uri;
      HF_CO_TRY(std::unique_ptr<Disk> disk,
                co_await Disk::open(registry_, read_only, "pool check", PoolOptions().disk_health));
      disks_.push_back(std::move(disk));
    }
    const Status read = co_await check_all();
    if (read.ok()) co_return Status();
    if (read.code() == Errc::io_error || read.code() == Errc::resource_exhausted) co_return read.error();
    found(read.error().message());
    co_return Status();
  }
  Task<void> close() {
    for (auto& disk : disks_) co_await disk->close();
  }
  PoolOnDisk take() { return std::move(out_); }

 private:
  void found(std::string line) {
    if (out_.findings.size() < findings_max) out_.findings.push_back(std::move(line));
  }
  void note(std::string line) { out_.notes.push_back(std::move(line)); }
  static std::string at(const DiskCluster& c) {
    return "cluster " + std::to_string(c.cluster) + " of disk " + std::to_string(c.disk);
  }

  Task<Status> check_all() {
    HF_CO_TRY(std::vector<Label> labels, co_await read_labels(home_, disks_));
    for (std::size_t i = 0; i < labels.size(); ++i) {
      out_.disks.push_back({disks_[i]->uri(), disks_[i]->size_bytes(), labels[i]});
      check_label(*disks_[i], labels[i]);
    }
    HF_CO_TRY(const std::size_t first, check_labels(disks_, labels, "", std::nullopt));
    out_.superblock = labels[first].superblock;
    RecordObserver each = [this](std::uint64_t sequence, const Record& record) {
      if (keep_records_) out_.records.push_back({sequence, record});
    };
    HF_CO_TRY(Recovered recovered, co_await recover(home_, disks_, out_.superblock, Members::some,
                                                    map_bytes_max_, std::move(each)));
    out_.state = std::move(recovered.state);
    out_.scan = recovered.scan;
    out_.image = std::move(recovered.image);
    if (out_.superblock.clean && out_.scan.commits > 0)
      found("the label says that the pool was closed, but commits follow its checkpoint");
    for (std::string& line : check_invariants(*out_.state)) found(std::move(line));
    for (std::string& line : check_places(*out_.state)) found(std::move(line));
    check_members();
    check_image();
    co_return Status();
  }

  void check_label(Disk& disk, const Label& label) {
    const Superblock& s = label.superblock;
    disk.become(s.disk_index, s.disk_uuid, s.data_offset);
    const std::string who = "disk '" + disk.uri() + "': ";
    if (!label.copies_agree)
      note(who + "the copies of its label differ; an update was cut off, or one is damaged");
    if (disk.size_bytes() < s.disk_bytes)
      found(who + "it has become smaller: " + std::to_string(disk.size_bytes()) + " bytes of " +
            std::to_string(s.disk_bytes));
    if (s.read_only()) note(who + "it has features of a newer release; this one opens the pool read-only");
  }

  void check_members() {
    const auto disk_of = [&](const DiskRecord& record) {
      return std::any_of(disks_.begin(), disks_.end(), [&](const auto& disk) {
        return disk->uuid() == record.uuid && disk->index() == record.index;
      });
    };
    for (const DiskRecord& record : out_.state->disks()) {
      if (!disk_of(record))
        found("disk " + std::to_string(record.index) + " (UUID " + record.uuid.to_string() +
              ", last seen as '" + record.uri + "') is missing");
    }
    for (const auto& disk : disks_) {
      const auto& members = out_.state->disks();
      const bool known = disk->index() < members.size() && members[disk->index()].uuid == disk->uuid();
      if (!known) note("disk '" + disk->uri() + "' has the pool's label and is not a member of it");
    }
  }

  // The checkpoint lies in clusters of the pool that nothing else uses.
  void check_image() {
    for (const DiskCluster& c : out_.image) {
      std::optional<Cluster> cluster;
      for (const Segment& s : out_.state->segments()) {
        if (s.disk == c.disk && c.cluster >= s.disk_first && c.cluster - s.disk_first < s.count)
          cluster = Cluster{s.first + (c.cluster - s.disk_first)};
      }
      if (!cluster) {
        found("the checkpoint lies in " + at(c) + ", which is not of the pool");
      } else if (out_.state->clusters().count(*cluster) != 0) {
        found("the checkpoint lies in " + at(c) + ", which has data of a volume");
      }
    }
  }

  DeviceRegistry& registry_;
  Reactor& home_;
  const bool keep_records_;
  const std::uint64_t map_bytes_max_;
  std::vector<std::unique_ptr<Disk>> disks_;
  PoolOnDisk out_;
};

}  // namespace

Task<Result<PoolOnDisk>> check_pool(DeviceRegistry& registry, std::vector<std::string> disks,
                                    bool keep_records, std::uint64_t map_bytes_max) {
  Checker checker(registry, keep_records, map_bytes_max);
  const Status read = co_await checker.run(disks);
  co_await checker.close();
  if (!read.ok()) co_return read.error();
  co_return checker.take();
}

}  // namespace holdfast::pool

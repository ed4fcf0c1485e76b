#include "pool/recovery.h"

#include <utility>
#include <variant>

#include "pool/checkpoint.h"
#include "pool/image.h"
#include "pool/memory_limit.h"

namespace holdfast::pool {
namespace {

std::string pool_of(const Superblock& s) { return "pool '" + s.name + "' (" + s.pool_uuid.to_string() + ")"; }

std::string smaller(const Disk& disk) {
  return "disk '" + disk.uri() + "' has become smaller: it has " + format_size(disk.size_bytes());
}

std::string unfinished(const Superblock& s) {
  return "is of " + pool_of(s) +
         ", which is not there: making or erasing it was cut off; the disk is free, and the pool can be made "
         "anew";
}

// The disks that are there, and what a state says of them.
class Places {
 public:
  Places(std::span<const std::unique_ptr<Disk>> disks, const Superblock& superblock) noexcept
      : disks_(disks), superblock_(superblock), who_("pool '" + superblock.name + "': ") {}

  // nullptr: it is not there.
  Disk* find(std::uint16_t index, const Uuid& uuid) const noexcept {
    for (const auto& disk : disks_) {
      if (disk->index() == index && disk->uuid() == uuid) return disk.get();
    }
    return nullptr;
  }
  Status all_there(const State& state) const {
    std::string missing;
    for (const DiskRecord& record : state.disks()) {
      if (find(record.index, record.uuid) != nullptr) continue;
      missing += (missing.empty() ? "" : ", ") + std::string("disk ") + std::to_string(record.index) +
                 " (UUID " + record.uuid.to_string() + ", last seen as '" + record.uri + "')";
    }
    if (missing.empty()) return Status();
    return Error(Errc::failed_precondition, who_ + missing + " is missing; give all of its disks");
  }
  // On a disk that is there.
  Status fits(const State& state, const Segment& segment) const {
    const Disk* disk = find(segment.disk, state.disks()[segment.disk].uuid);
    const std::uint64_t end = std::uint64_t{segment.disk_first} + segment.count;
    if (disk == nullptr || end <= clusters_that_fit(*disk, state.cluster_bytes())) return Status();
    return Error(Errc::failed_precondition, who_ + smaller(*disk) + ", and clusters up to number " +
                                                std::to_string(end) + " of " +
                                                format_size(state.cluster_bytes()) + " on it");
  }
  // The label names what the checkpoint knew, or more.
  Status labelled(const State& state) const {
    const std::vector<Uuid>& named = superblock_.members;
    for (std::size_t i = 0; i < named.size(); ++i) {
      if (i < state.disks().size() && state.disks()[i].uuid == named[i]) continue;
      return Error(Errc::bad_format, who_ + "the label of disk 0 names a disk " + std::to_string(i) +
                                         " (UUID " + named[i].to_string() +
                                         ") that the metadata does not know");
    }
    return Status();
  }

 private:
  std::span<const std::unique_ptr<Disk>> disks_;
  const Superblock& superblock_;
  const std::string who_;
};

// Takes the records of the journal, one after the other.
class Replay {
 public:
  Replay(Recovered& recovered, const Places& places, Members members, MemoryLimit& limit,
         const RecordObserver& each) noexcept
      : recovered_(recovered), places_(places), members_(members), limit_(limit), each_(each) {}

  Status take(std::uint64_t sequence, const Record& record) {
    if (each_) each_(sequence, record);
    State& state = *recovered_.state;
    const auto* added = std::get_if<AddDiskRecord>(&record);
    const auto* grown = std::get_if<GrowRecord>(&record);
    if (incomplete_ && added == nullptr && grown == nullptr) return Status();
    HF_CHECK(state.check(record));
    HF_CHECK(limit_.charge(state, record));
    if (const auto* settled = std::get_if<SettledRecord>(&record);
        settled != nullptr && settled->sequence >= sequence) {
      return Error(Errc::bad_format, "data up to commit " + std::to_string(settled->sequence) +
                                         " is settled before it is written");
    }
    Effects effects;
    state.apply(record, effects);
    recovered_.carried.see(sequence, record);
    for (const ClusterRun& freed : effects.freed) recovered_.carried.forget(freed);
    state.settle(effects);
    if (grown != nullptr) return places_.fits(state, grown->segment);
    if (added == nullptr) return Status();
    const bool there = places_.find(added->disk.index, added->disk.uuid) != nullptr;
    incomplete_ = incomplete_ || (!there && members_ == Members::all);
    return places_.fits(state, added->segment);
  }

 private:
  Recovered& recovered_;
  const Places& places_;
  const Members members_;
  MemoryLimit& limit_;
  const RecordObserver& each_;
  // A disk is missing: what remains to be read is which ones.
  bool incomplete_ = false;
};

}  // namespace

Task<Result<std::vector<Label>>> read_labels(Reactor& home, std::span<const std::unique_ptr<Disk>> disks) {
  std::vector<Label> labels;
  for (const auto& disk : disks) {
    auto label = co_await read_label(home, disk->home());
    if (label.code() == Errc::not_found) co_return Error(Errc::failed_precondition, label.error().message());
    if (!label.ok()) co_return label.error();
    labels.push_back(std::move(label).value());
  }
  co_return labels;
}

Result<std::size_t> check_labels(std::span<const std::unique_ptr<Disk>> disks, std::span<const Label> labels,
                                 const std::string& name, const std::optional<Uuid>& uuid) {
  const auto refused = [](const std::string& text) { return Error(Errc::failed_precondition, text); };
  const auto disk = [&](std::size_t i) { return "disk '" + disks[i]->uri() + "' "; };
  const Superblock& any = labels.front().superblock;
  std::optional<std::size_t> first;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const Superblock& s = labels[i].superblock;
    if (s.instance != any.instance || s.pool_uuid != any.pool_uuid)
      return refused(disk(i) + "is of " + pool_of(s) + ", " + disk(0) + "of " + pool_of(any));
    if ((!name.empty() && s.name != name) || (uuid && s.pool_uuid != *uuid)) {
      const std::string wanted = "pool '" + name + "'" + (uuid ? " (" + uuid->to_string() + ")" : "");
      return refused(disk(i) + "is of " + pool_of(s) + ", not of " + wanted);
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (labels[k].superblock.disk_uuid == s.disk_uuid)
        return refused(disk(i) + "and " + disk(k) + "are copies of one disk of " + pool_of(s));
    }
    if (s.cluster_bytes != any.cluster_bytes)
      return Error(Errc::bad_format, disk(i) + "has clusters of " + format_size(s.cluster_bytes) + ", " +
                                         disk(0) + "of " + format_size(any.cluster_bytes));
    if (s.data_offset > disks[i]->size_bytes()) return refused(smaller(*disks[i]));
    if (s.disk_index != 0) continue;
    if (s.unfinished()) return refused(disk(i) + unfinished(s));
    if (s.members.front() != s.disk_uuid)
      return Error(Errc::bad_format, disk(i) + "has a label that does not name itself");
    if (first)
      return Error(Errc::bad_format, disk(i) + "and " + disk(*first) + "are both disk 0 of " + pool_of(s));
    first = i;
  }
  if (first) return *first;
  if (any.unfinished()) return refused(disk(0) + unfinished(any));
  return refused(pool_of(any) + ": disk 0, which has its journal, is missing; give all of its disks");
}

Task<Result<Recovered>> recover(Reactor& home, std::span<const std::unique_ptr<Disk>> disks,
                                Superblock superblock, Members members, std::uint64_t map_bytes_max,
                                RecordObserver each) {
  const std::string who = "pool '" + superblock.name + "'";
  const Places places(disks, superblock);
  DiskOfIndex member = [&places, &superblock](std::uint16_t index) -> Disk* {
    return index < superblock.members.size() ? places.find(index, superblock.members[index]) : nullptr;
  };
  Recovered recovered;
  ImageReader::Head head = [&places, members](const State& state) -> Status {
    if (members == Members::all) HF_CHECK(places.all_there(state));
    for (const Segment& segment : state.segments()) HF_CHECK(places.fits(state, segment));
    return Status();
  };
  ImageReader reader(std::move(head), map_bytes_max);
  ImageSink sink = [&reader, &who](std::span<const std::byte> bytes) -> Status {
    Status taken = reader.feed(bytes);
    if (taken.code() != Errc::bad_format && taken.code() != Errc::resource_exhausted) return taken;
    return taken.error().with_context(who);
  };
  HF_CO_TRY(recovered.image, co_await read_image(home, member, superblock, std::move(sink)));
  auto state = reader.finish();
  if (!state.ok()) co_return state.error().with_context(who);
  recovered.state = std::move(state).value();
  if (recovered.state->cluster_bytes() != superblock.cluster_bytes)
    co_return Error(Errc::bad_format, who + ": the checkpoint has another cluster size than the label");

  const Root& root = superblock.root;
  recovered.carried = CarriedData(superblock.recovered_sequence);
  recovered.begin = Journal::Mark{root.sequence, root.journal_position};
  const Journal::Ring ring{superblock.journal_offset, superblock.journal_bytes, superblock.instance};
  MemoryLimit limit(map_bytes_max);
  Replay replay(recovered, places, members, limit, each);
  RecordSink take = [&replay](std::uint64_t sequence, Record& record) {
    return replay.take(sequence, record);
  };
  const JournalAge age{superblock.incarnation, superblock.recovered_sequence};
  Disk* const first = member(0);
  HF_ASSERT(first != nullptr);  // check_labels
  HF_CO_TRY(recovered.scan,
            co_await recover_journal(home, first->home(), ring, recovered.begin, age, std::move(take)));
  HF_CO_CHECK(places.labelled(*recovered.state));
  if (members == Members::all) HF_CO_CHECK(places.all_there(*recovered.state));
  co_return recovered;
}

std::uint64_t clusters_that_fit(const Disk& disk, std::uint32_t cluster_bytes) noexcept {
  const std::uint64_t size = disk.size_bytes();
  return size <= disk.data_offset() ? 0 : (size - disk.data_offset()) / cluster_bytes;
}

}  // namespace holdfast::pool

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "pool/pool_impl.h"
#include "rt/when_all.h"

namespace holdfast::pool {

std::uint32_t Pool::Impl::segment_clusters(std::uint16_t disk) const noexcept {
  return static_cast<std::uint32_t>(state_->clusters().disk_clusters(disk));
}

Status Pool::Impl::check_room_for_segments(std::size_t more) const {
  if (more <= segments_max - state_->segments().size()) return Status();
  return error(Errc::resource_exhausted,
               "its disks were added and grew " + std::to_string(segments_max) + " times, which is the most");
}

Task<Status> Pool::Impl::add_disk(std::string uri, bool force) {
  const Semaphore::Permit alone = co_await changes_.acquire();
  if (closing_) co_return error(Errc::failed_precondition, "it is being closed");
  HF_CO_CHECK(journal_->usable());
  if (state_->disks().size() == disks_max) {
    co_return error(Errc::resource_exhausted,
                    "it has " + std::to_string(disks_max) + " disks, which is the most");
  }
  HF_CO_CHECK(check_room_for_segments(1));
  HF_CO_TRY(joining_, co_await Disk::open(registry_, uri, user(), options_.disk_health));
  Status outcome = co_await check_new_disk(*joining_, force);
  if (outcome.ok()) outcome = co_await join(*joining_);
  if (joining_ != nullptr) {
    co_await joining_->close();
    joining_.reset();
  } else {
    HF_LOG(info, "pool", "disk added", {"pool", name()}, {"disk", uri});
    watch_space();
  }
  co_return outcome;
}

Task<Status> Pool::Impl::check_new_disk(Disk& disk, bool force) const {
  const std::string who = "disk '" + disk.uri() + "' ";
  if (disk.is_read_only()) co_return error(Errc::failed_precondition, who + "is read-only");
  if (disk.block_bytes() > disks_->block_bytes()) {
    co_return error(Errc::invalid_argument, who + "has blocks of " + std::to_string(disk.block_bytes()) +
                                                " bytes; the pool's have " +
                                                std::to_string(disks_->block_bytes()));
  }
  const auto label = co_await read_label(home_, disk.home());
  // By another path it may be there already, and what is written to it is written to the pool.
  const auto is_it = [&label](const DiskRecord& member) {
    return member.uuid == label.value().superblock.disk_uuid;
  };
  const bool ours = label.ok() && label.value().superblock.instance == label_.superblock.instance;
  if (ours && std::any_of(state_->disks().begin(), state_->disks().end(), is_it)) {
    co_return error(
        Errc::already_exists,
        who + "is disk " + std::to_string(label.value().superblock.disk_index) +
            " of it by another path, or a copy of that disk; erase its label first if it is a copy");
  }
  if (force) co_return Status();
  if (label.code() == Errc::io_error) co_return label.error();
  // Looked at once: what an earlier try wrote, and failed, may get there in between.
  if (label.code() == Errc::not_found) co_return Status();
  // One that this pool labelled and did not get to add.
  if (ours) co_return Status();
  co_return refuse_label(disk, label);
}

// Labels the disk and records it. When the record is not written, the disk is not a member, whatever it says.
Task<Status> Pool::Impl::join(Disk& disk) {
  Label label;
  Superblock& own = label.superblock;
  const Superblock& s = label_.superblock;
  own.pool_uuid = s.pool_uuid;
  own.instance = s.instance;
  own.name = s.name;
  own.cluster_bytes = s.cluster_bytes;
  own.created_unix_ns = static_cast<std::uint64_t>(home_.wall_now());
  own.disk_uuid = Uuid::random(home_.random());
  own.disk_index = static_cast<std::uint16_t>(state_->disks().size());
  own.disk_bytes = disk.size_bytes();
  own.data_offset = round_up(wire::label_area_bytes, std::min<std::uint64_t>(s.cluster_bytes, MiB));
  disk.become(own.disk_index, own.disk_uuid, own.data_offset);
  const std::uint64_t count = clusters_on(disk);
  const std::uint64_t first = state_->clusters().size();
  if (count == 0)
    co_return error(Errc::invalid_argument, "disk '" + disk.uri() + "' is too small for a cluster");
  if (first + count > clusters_max)
    co_return error(Errc::invalid_argument, "so many clusters cannot be numbered");
  HF_CO_CHECK(co_await mark_unfinished(home_, disk.home()));
  HF_CO_CHECK(co_await wipe_label(disk.home()));
  // Half a label is one that is unfinished, and so none.
  own.incompatible = incompatible_unfinished;
  HF_CO_CHECK(co_await write_label(home_, disk.home(), label));
  own.incompatible = 0;
  HF_CO_CHECK(co_await write_label(home_, disk.home(), label));
  AddDiskRecord record;
  record.disk = DiskRecord{own.disk_index, own.disk_uuid, uri_hint(disk.uri())};
  record.segment =
      Segment{static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(count), own.disk_index, 0};
  std::vector<Record> records;
  records.emplace_back(std::move(record));
  co_return co_await journal_->commit(std::move(records), Durable::yes);
}

Task<Status> Pool::Impl::grow() {
  const Semaphore::Permit alone = co_await changes_.acquire();
  if (closing_) co_return error(Errc::failed_precondition, "it is being closed");
  std::vector<Record> records;
  std::uint64_t first = state_->clusters().size();
  for (std::uint16_t i = 0; i < disks_->count(); ++i) {
    const Disk& disk = disks_->at(i);
    const Status looked = co_await disk.device().rescan();
    if (!looked.ok()) co_return disk.explain(looked.error(), "reading its size");
    const std::uint64_t fit = clusters_on(disk);
    const std::uint32_t taken = segment_clusters(i);
    if (fit <= taken) continue;
    if (first + (fit - taken) > clusters_max)
      co_return error(Errc::invalid_argument, "so many clusters cannot be numbered");
    GrowRecord record;
    record.segment =
        Segment{static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(fit - taken), i, taken};
    records.emplace_back(record);
    first += fit - taken;
  }
  if (records.empty()) co_return Status();
  HF_CO_CHECK(check_room_for_segments(records.size()));
  HF_CO_CHECK(co_await journal_->commit(std::move(records), Durable::yes));
  HF_LOG(info, "pool", "pool grew", {"pool", name()}, {"clusters", first});
  watch_space();
  co_return Status();
}

Task<Status> Pool::Impl::before_commit(std::span<const Record* const> records) {
  std::uint64_t wanted = 0;  // disks, a bit each
  for (const Record* record : records) {
    std::optional<Cluster> written;
    if (const auto* write = std::get_if<WriteRecord>(record)) written = write->cluster;
    if (const auto* complete = std::get_if<CompleteRecord>(record)) {
      const StateVolume* volume = state_->find(complete->volume);
      if (volume != nullptr) written = volume->map().find(complete->index).own();
    }
    if (written) wanted |= std::uint64_t{1} << disks_->locate(*written).disk;
  }
  static_assert(disks_max <= 64);
  std::vector<Task<Status>> flushes;
  for (std::uint16_t i = 0; i < disks_max; ++i) {
    if ((wanted >> i & 1) != 0) flushes.push_back(disks_->at(i).home().flush());
  }
  co_return co_await when_all_ok(std::move(flushes));
}

void Pool::Impl::apply(Record& record) noexcept {
  Effects effects;
  if (const auto* write = std::get_if<WriteRecord>(&record)) space_->recorded(write->cluster);
  if (const auto* write = std::get_if<WriteDataRecord>(&record)) {
    space_->recorded(write->write.cluster);
    fresh_->recorded(write->write, journal_->mark().sequence);
  }
  state_->apply_lazily(record, effects);
  if (std::holds_alternative<AddDiskRecord>(record)) {
    joining_->observe(this);
    disks_->add(std::move(joining_));
  }
  if (std::holds_alternative<AddDiskRecord>(record) || std::holds_alternative<GrowRecord>(record)) {
    disks_->publish(state_->segments());
    keep_image_reserve();
  }
  space_->retire(std::move(effects));
  watch_space();
}

}  // namespace holdfast::pool

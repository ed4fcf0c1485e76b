#include "pool/recovery.h"

#include <utility>

#include "pool/checkpoint.h"
#include "pool/image.h"

namespace holdfast::pool {
namespace {

std::string pool_of(const Superblock& s) { return "pool '" + s.name + "' (" + s.pool_uuid.to_string() + ")"; }

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
    if (s.disk_index != 0) continue;
    if (s.members.front() != s.disk_uuid)
      return Error(Errc::bad_format, disk(i) + "has a label that does not name itself");
    first = i;
  }
  if (first) return *first;
  return refused(pool_of(any) + ": disk 0, which has its journal, is missing; give all of its disks");
}

Task<Result<Recovered>> recover(Reactor& home, std::span<const std::unique_ptr<Disk>> disks,
                                Superblock superblock, RecordObserver each) {
  const std::string who = "pool '" + superblock.name + "'";
  DiskOfIndex member = [disks, &superblock](std::uint16_t index) -> Disk* {
    for (const auto& disk : disks) {
      const bool is = index < superblock.members.size() && disk->uuid() == superblock.members[index];
      if (is && disk->index() == index) return disk.get();
    }
    return nullptr;
  };
  Recovered recovered;
  ImageReader reader;
  ImageSink sink = [&reader](std::span<const std::byte> bytes) { return reader.feed(bytes); };
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
  RecordSink take = [&recovered, &each](std::uint64_t sequence, Record& record) -> Status {
    if (each) each(sequence, record);
    HF_CHECK(recovered.state->check(record));
    Effects effects;
    recovered.state->apply(record, effects);
    recovered.carried.see(sequence, record);
    for (const ClusterRun& freed : effects.freed) recovered.carried.forget(freed);
    recovered.state->settle(effects);
    return Status();
  };
  const JournalAge age{superblock.incarnation, superblock.recovered_sequence};
  Disk* const first = member(0);
  HF_ASSERT(first != nullptr);  // check_labels
  HF_CO_TRY(recovered.scan,
            co_await recover_journal(home, first->home(), ring, recovered.begin, age, std::move(take)));
  co_return recovered;
}

std::uint64_t clusters_that_fit(const Disk& disk, std::uint32_t cluster_bytes) noexcept {
  const std::uint64_t size = disk.size_bytes();
  return size <= disk.data_offset() ? 0 : (size - disk.data_offset()) / cluster_bytes;
}

}  // namespace holdfast::pool

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"
#include "base/utf8.h"
#include "pool/pool_impl.h"

namespace holdfast::pool {
namespace {

constexpr std::uint64_t journal_bytes_usual_min = 4 * MiB;
constexpr std::uint64_t journal_bytes_usual_max = 128 * MiB;
constexpr std::uint64_t data_alignment = MiB;
constexpr std::uint32_t clusters_min = 4;  // of a new disk

// By the capacity, but never more than an eighth of the disk that it lies on.
std::uint64_t usual_journal_bytes(std::uint64_t capacity, std::uint64_t disk_bytes) {
  const std::uint64_t wanted = std::clamp(capacity / 256, journal_bytes_usual_min, journal_bytes_usual_max);
  const std::uint64_t most = std::max(disk_bytes / 8, Journal::bytes_min);
  return std::min(wanted, most) / Journal::bytes_min * Journal::bytes_min;
}

Status check_params(const PoolParams& params, const PoolOptions& options) {
  HF_CHECK(check_name("pool", params.name));
  const auto wrong = [&](const std::string& text) {
    return Error(Errc::invalid_argument, "pool '" + params.name + "': " + text);
  };
  const std::uint32_t cluster = params.cluster_bytes;
  if (!is_power_of_two(cluster) || cluster < cluster_bytes_min || cluster > cluster_bytes_max) {
    return wrong("a cluster size of " + format_size(cluster) +
                 " is not possible; it is a power of two from " + format_size(cluster_bytes_min) + " to " +
                 format_size(cluster_bytes_max));
  }
  if (params.disks.empty() || params.disks.size() > disks_max)
    return wrong("it needs 1 to " + std::to_string(disks_max) + " disks");
  if (params.uuid && params.uuid->is_nil()) return wrong("its UUID must not be zero");
  const std::uint64_t journal = options.journal_bytes;
  if (journal != 0 && (journal < Journal::bytes_min || journal % wire::commit_alignment != 0))
    return wrong("a journal of " + format_size(journal) + " is not possible");
  return Status();
}

}  // namespace

Status check_name(std::string_view what, std::string_view name) {
  const auto wrong = [&](const std::string& why) {
    return Error(Errc::invalid_argument, "the name of a " + std::string(what) + " " + why);
  };
  if (name.empty()) return wrong("is missing");
  if (name.size() > name_bytes_max)
    return wrong("is longer than " + std::to_string(name_bytes_max) + " bytes");
  const bool printable = std::all_of(
      name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; });
  if (!printable) return wrong("has a space or control character");
  // It goes into messages that are UTF-8, or are not read at all.
  if (to_utf8(name) != name) return wrong("is no UTF-8");
  return Status();
}

Task<Status> Pool::Impl::open_disks(const std::vector<std::string>& uris) {
  for (const std::string& uri : uris) {
    const BlockDevice* known = registry_.find(disk_uri(uri));
    for (const auto& disk : new_disks_) {
      if (&disk->device() == known)
        co_return error(Errc::invalid_argument, "disk '" + uri + "' is given twice");
    }
    HF_CO_TRY(std::unique_ptr<Disk> disk, co_await Disk::open(registry_, uri, user(), options_.disk_health));
    new_disks_.push_back(std::move(disk));
  }
  co_return Status();
}

// Disks that are of a pool already, or look as if they were.
Task<Status> Pool::Impl::refuse_labelled() const {
  std::vector<Result<Label>> labels;
  std::set<Uuid> unfinished;  // instances
  for (const auto& disk : new_disks_) {
    auto label = co_await read_label(home_, disk->home());
    if (label.ok() && label.value().superblock.unfinished() && label.value().superblock.disk_index == 0)
      unfinished.insert(label.value().superblock.instance);
    labels.push_back(std::move(label));
  }
  Status refused;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const bool is_free = labels[i].ok() && unfinished.contains(labels[i].value().superblock.instance);
    if (refused.ok() && !is_free) refused = refuse_label(*new_disks_[i], labels[i]);
  }
  co_return refused;
}

Status Pool::Impl::refuse_label(const Disk& disk, const Result<Label>& label) const {
  if (label.code() == Errc::not_found || (label.ok() && label.value().superblock.unfinished()))
    return Status();
  if (label.code() == Errc::io_error) return label.error();
  const std::string who = "disk '" + disk.uri() + "' ";
  const std::string forced = "; when nothing on it is wanted any more, --force overwrites it";
  if (!label.ok())
    return error(Errc::failed_precondition,
                 who + "has a label of a pool (" + label.error().message() + ")" + forced);
  return error(Errc::failed_precondition, who + "is of pool '" + label.value().superblock.name +
                                              "': import that one, or destroy it first" + forced);
}

Task<Status> Pool::Impl::create(PoolParams params) {
  HF_CO_CHECK(check_params(params, options_));
  Superblock& s = label_.superblock;
  s.name = params.name;
  HF_CO_CHECK(co_await open_disks(params.disks));
  for (const auto& disk : new_disks_) {
    if (disk->is_read_only())
      co_return error(Errc::failed_precondition, "disk '" + disk->uri() + "' is read-only");
  }
  if (!params.force) HF_CO_CHECK(co_await refuse_labelled());
  HF_CO_TRY(std::vector<Label> labels, plan_new_disks(params));
  Status made = co_await label_new_disks(labels);
  if (made.ok()) {
    build(Journal::Mark(), Journal::Mark());
    keep_image_reserve();
    // The pool exists from the moment at which the label of disk 0 is durable.
    made = co_await run_checkpoint(false);
  }
  if (made.ok()) made = co_await finish_labels(labels);
  if (!made.ok()) {  // so that it can be asked for again
    const Status wiped = co_await wipe_labels(true);
    wiped.ignore("the error that matters is why it could not be made");
    co_return made;
  }
  open_volumes();
  HF_LOG(info, "pool", "pool created", {"pool", name()}, {"uuid", uuid().to_string()},
         {"disks", disks_->count()});
  co_return Status();
}

// Decides what is where, and makes the empty state. The labels of the disks, in their order.
Result<std::vector<Label>> Pool::Impl::plan_new_disks(const PoolParams& params) {
  std::uint64_t capacity = 0;
  for (const auto& disk : new_disks_) capacity += disk->size_bytes();
  const std::uint64_t ring = options_.journal_bytes != 0
                                 ? options_.journal_bytes
                                 : usual_journal_bytes(capacity, new_disks_.front()->size_bytes());
  Superblock& s = label_.superblock;
  Prng& random = home_.random();
  s.pool_uuid = params.uuid ? *params.uuid : Uuid::random(random);
  s.instance = Uuid::random(random);
  s.cluster_bytes = params.cluster_bytes;
  s.created_unix_ns = static_cast<std::uint64_t>(home_.wall_now());
  state_ = std::make_unique<State>(params.cluster_bytes);
  disks_ = std::make_unique<DiskSet>(params.cluster_bytes);
  Effects none;
  std::vector<Label> labels;
  std::uint64_t first = 0;
  for (std::uint16_t i = 0; i < new_disks_.size(); ++i) {
    Disk& disk = *new_disks_[i];
    Label& label = labels.emplace_back();
    label.superblock = s;
    Superblock& own = label.superblock;
    own.incompatible = incompatible_unfinished;
    own.disk_index = i;
    own.disk_uuid = Uuid::random(random);
    own.disk_bytes = disk.size_bytes();
    if (i == 0) {
      own.journal_offset = wire::label_area_bytes;
      own.journal_bytes = ring;
      own.incarnation = 1;
    }
    own.data_offset = round_up(wire::label_area_bytes + own.journal_bytes,
                               std::min<std::uint64_t>(params.cluster_bytes, data_alignment));
    disk.become(i, own.disk_uuid, own.data_offset);
    const std::uint64_t count = clusters_on(disk);
    if (count < clusters_min)
      return error(Errc::invalid_argument, "disk '" + disk.uri() + "' is too small: it has room for " +
                                               std::to_string(count) + " clusters");
    if (first + count > clusters_max)
      return error(Errc::invalid_argument, "so many clusters cannot be numbered; take a larger cluster size");
    const Segment segment{static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(count), i, 0};
    const DiskRecord record{i, own.disk_uuid, uri_hint(disk.uri())};
    const Record added = AddDiskRecord{record, segment};
    state_->apply(added, none);
    first += count;
  }
  state_->settle(none);
  return labels;
}

// From now on there is no pool on the disks, whatever there was, until disk 0 gets another label with the first
// checkpoint.
Task<Status> Pool::Impl::label_new_disks(std::vector<Label>& labels) {
  // One that is not free without the mark of another one keeps that until it has its own.
  for (const auto& disk : new_disks_) HF_CO_CHECK(co_await mark_unfinished(home_, disk->home()));
  for (const auto& disk : new_disks_) HF_CO_CHECK(co_await wipe_label(disk->home()));
  for (std::size_t i = 0; i < labels.size(); ++i)
    HF_CO_CHECK(co_await write_label(home_, new_disks_[i]->home(), labels[i]));
  HF_CO_CHECK(co_await check_told_apart(labels));
  label_ = labels.front();
  label_.superblock.incompatible &= ~incompatible_unfinished;
  for (auto& disk : new_disks_) disks_->add(std::move(disk));
  new_disks_.clear();
  disks_->publish(state_->segments());
  co_return Status();
}

// The kernel may show one disk at two paths: there the later label is instead of the earlier one.
Task<Status> Pool::Impl::check_told_apart(const std::vector<Label>& labels) {
  for (std::size_t i = 0; i < labels.size(); ++i) {
    HF_CO_TRY(const Label there, co_await read_label(home_, new_disks_[i]->home()));
    const std::size_t other = there.superblock.disk_index;
    if (other == i || other >= labels.size()) continue;
    co_return error(Errc::invalid_argument, "disk '" + new_disks_[i]->uri() + "' is disk '" +
                                                new_disks_[other]->uri() + "' by another path");
  }
  co_return Status();
}

// All but disk 0, which says that there is a pool. When this is cut off, whoever opens the pool does it.
Task<Status> Pool::Impl::finish_labels(std::vector<Label>& labels) {
  for (Label& label : labels) {
    Superblock& s = label.superblock;
    const Disk* const member = disks_->find(s.disk_index);
    if (s.disk_index == 0 || member == nullptr || member->uuid() != s.disk_uuid) continue;
    if (!s.unfinished()) {
      if (label.copies_agree) continue;
      const Status mended = co_await write_label(home_, member->home(), label);
      if (mended.ok()) continue;  // one copy is enough to open the pool
      HF_LOG(warn, "pool", "a copy of a label stays damaged", {"pool", name()}, {"error", mended.error()});
      continue;
    }
    s.incompatible &= ~incompatible_unfinished;
    HF_CO_CHECK(co_await write_label(home_, member->home(), label));
  }
  co_return Status();
}

// Disk 0 first says that there is no pool, and goes on to say it while another one has a label: that one is free, too.
Task<Status> Pool::Impl::wipe_labels(bool all_the_same) {
  std::vector<Disk*> all;
  for (const auto& disk : new_disks_) all.push_back(disk.get());
  for (std::uint16_t i = 0; i < disks_->count(); ++i) all.push_back(&disks_->at(i));
  for (Disk* disk : all) disk->forget_lost();
  Disk& first = *all.front();
  Status marked = co_await mark_unfinished(home_, first.home());
  if (!marked.ok() && !all_the_same) co_return marked;
  bool first_goes = true;
  for (std::size_t i = marked.ok() ? 1 : 0; i < all.size(); ++i) {
    const bool erased = co_await erase_label(*all[i]);
    first_goes = first_goes && erased;
  }
  if (marked.ok() && first_goes) co_await erase_label(first);
  co_return marked;
}

Task<bool> Pool::Impl::erase_label(Disk& disk) const {
  const Status marked = co_await mark_unfinished(home_, disk.home());
  marked.ignore("then it goes as it is");
  const Status wiped = co_await wipe_label(disk.home());
  if (!wiped.ok()) HF_LOG(warn, "pool", "a disk keeps its label", {"pool", name()}, {"error", wiped.error()});
  co_return wiped.ok();
}

}  // namespace holdfast::pool

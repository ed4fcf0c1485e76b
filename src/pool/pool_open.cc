#include <algorithm>
#include <utility>

#include "base/log.h"
#include "pool/pool_impl.h"
#include "pool/recovery.h"

namespace holdfast::pool {

Pool::Impl::Impl(DeviceRegistry& registry, PoolOptions options, PoolObserver* observer)
    : registry_(registry),
      home_(registry.cores().home()),
      options_(options),
      observer_(observer),
      memory_(MemoryLimit::of_growth(options.map_bytes_max)),
      guard_(registry.cores()),
      changes_(home_, 1),
      checkpoint_over_(home_),
      scope_(home_) {}

Pool::Impl::~Impl() { HF_ASSERT(disks_ == nullptr && new_disks_.empty()); }

Task<Status> Pool::Impl::open(std::vector<std::string> uris, std::string name, std::optional<Uuid> uuid) {
  label_.superblock.name = name;
  if (uris.empty()) co_return Error(Errc::invalid_argument, user() + ": no disks are given");
  HF_CO_CHECK(co_await open_disks(uris));
  HF_CO_TRY(std::vector<Label> labels, co_await read_labels(home_, new_disks_));
  HF_CO_TRY(const std::size_t first, check_labels(new_disks_, labels, name, uuid));
  label_ = labels[first];
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const Superblock& own = labels[i].superblock;
    new_disks_[i]->become(own.disk_index, own.disk_uuid, own.data_offset);
    read_only_ = read_only_ || own.read_only() || new_disks_[i]->is_read_only();
  }
  HF_CO_TRY(Recovered found, co_await recover(home_, new_disks_, label_.superblock, Members::all,
                                              options_.map_bytes_max, RecordObserver()));
  state_ = std::move(found.state);
  disks_ = std::make_unique<DiskSet>(label_.superblock.cluster_bytes);
  take_members();
  co_await leave_others();
  disks_->publish(state_->segments());
  HF_CO_CHECK(check_image(found.image));
  Superblock& s = label_.superblock;
  if (read_only_ && !found.carried.empty()) {
    co_return error(
        Errc::failed_precondition,
        "its journal has data that is not in its place yet; open it once with disks that can be written");
  }
  if (!read_only_) {
    HF_CO_CHECK(co_await found.carried.restore(home_, *disks_));
    // Durable before the label says that they were there; and the copy of the label that counts, before the other
    // one is written.
    HF_CO_CHECK(co_await disks_->at(0).home().flush());
    HF_CO_CHECK(co_await finish_labels(labels));
    // Durable before the first commit: what an earlier run left behind the last commit never counts again, even
    // when a torn write of this run happens to make it whole.
    ++s.incarnation;
    s.recovered_sequence = found.scan.end.sequence;
    s.clean = false;
    HF_CO_CHECK(co_await write_label(home_, disks_->at(0).home(), label_));
  }
  build(found.begin, found.scan.end);
  hold_image(found.image);
  if (read_only_) {
    journal_->freeze(
        Error(Errc::read_only, user() + " is read-only: it has features of a newer release, or a disk "
                                        "that cannot be written"));
  } else if (found.scan.commits > 0) {
    // What a failed flush of an earlier run dropped of the ring reads well, and no flush makes it durable: an image
    // takes its place. Not before the label, or a commit that arrives late could name the clusters of the image.
    const Status done = co_await run_checkpoint(false);
    if (!done.ok()) HF_LOG(warn, "pool", "no checkpoint", {"pool", this->name()}, {"error", done.error()});
  }
  open_volumes();
  HF_LOG(info, "pool", "pool opened", {"pool", this->name()}, {"uuid", this->uuid().to_string()},
         {"volumes", state_->volumes().size()}, {"commits", found.scan.commits}, {"read_only", read_only_});
  co_return Status();
}

// Every disk that the state knows is there. One that it does not know was about to be added when the pool ended.
void Pool::Impl::take_members() {
  for (const DiskRecord& record : state_->disks()) {
    const auto found = std::find_if(new_disks_.begin(), new_disks_.end(), [&](const auto& disk) {
      return disk != nullptr && disk->index() == record.index && disk->uuid() == record.uuid;
    });
    HF_ASSERT(found != new_disks_.end());  // recover()
    disks_->add(std::move(*found));
  }
  std::erase(new_disks_, nullptr);
}

// They may be added again.
Task<void> Pool::Impl::leave_others() {
  for (const auto& disk : new_disks_) {
    HF_LOG(warn, "pool", "a disk with the pool's label is not a member; adding it may have been cut off",
           {"pool", name()}, {"disk", disk->uri()});
    co_await disk->close();
  }
  new_disks_.clear();
}

// The checkpoint lies in clusters of the pool that nothing else uses: else what it wrote there is read as a volume's.
Status Pool::Impl::check_image(const std::vector<DiskCluster>& image) const {
  for (const DiskCluster& at : image) {
    const auto cluster = disks_->cluster_at(at.disk, at.cluster);
    const std::string where = "the checkpoint lies in cluster " + std::to_string(at.cluster) + " of disk '" +
                              disks_->at(at.disk).uri() + "', which ";
    if (!cluster) return error(Errc::bad_format, where + "is not of the pool");
    if (state_->clusters().count(*cluster) != 0)
      return error(Errc::bad_format, where + "has data of a volume");
  }
  return Status();
}

void Pool::Impl::build(Journal::Mark begin, Journal::Mark end) {
  const Superblock& s = label_.superblock;
  Space::Log& log = *this;
  JournalClient& client = *this;
  space_ = std::make_unique<Space>(home_, *state_, *disks_, guard_, log, options_.clusters_per_turn);
  const Journal::Ring ring{s.journal_offset, s.journal_bytes, s.instance};
  journal_ = std::make_unique<Journal>(home_, disks_->at(0).home(), ring, s.incarnation, begin, end, client);
  fresh_ =
      std::make_unique<FreshData>(home_, state_->clusters(), *disks_, *journal_, options_.clusters_per_turn);
  parts_.reset(new VolumeParts{registry_.cores(), *state_, *disks_, *journal_, *space_, *fresh_, guard_});
  checkpointed_ = begin.sequence;
  for (std::uint16_t i = 0; i < disks_->count(); ++i) disks_->at(i).observe(this);
  told_status_ = status();
}

void Pool::Impl::hold_image(const std::vector<DiskCluster>& image) {
  for (const DiskCluster& at : image) {
    const auto cluster = disks_->cluster_at(at.disk, at.cluster);
    HF_ASSERT(cluster);  // check_image()
    state_->clusters().hold(*cluster);
    image_.push_back(*cluster);
  }
  keep_image_reserve();
}

Task<Status> Pool::Impl::close(bool destroy) {
  const Semaphore::Permit alone = co_await changes_.acquire();
  HF_CO_CHECK(co_await close_volumes(false));
  co_await scope_.join();
  co_await fresh_->close();
  co_await journal_->rest();
  while (checkpointing_) co_await checkpoint_over_.wait();
  std::optional<Error> failed;
  if (destroy) {
    const Status wiped = co_await wipe_labels(false);
    if (!wiped.ok()) failed = wiped.error();
  } else if (!journal_->frozen()) {
    const Status done = co_await run_checkpoint(true);
    if (!done.ok())
      HF_LOG(warn, "pool", "closed without a checkpoint", {"pool", name()}, {"error", done.error()});
  }
  HF_LOG(info, "pool", destroy && !failed ? "pool destroyed" : "pool closed", {"pool", name()},
         {"uuid", uuid().to_string()});
  co_await let_go();
  if (failed) co_return *failed;
  co_return Status();
}

Task<void> Pool::Impl::let_go() {
  closing_ = true;
  if (journal_ != nullptr) {
    const Status gone = co_await close_volumes(true);
    gone.ignore("forced: it cannot be busy");
    co_await fresh_->close();
    co_await journal_->close();
    co_await scope_.join();
    co_await space_->close();
  }
  parts_.reset();
  fresh_.reset();
  journal_.reset();
  space_.reset();
  if (disks_ != nullptr) co_await disks_->close();
  disks_.reset();
  for (auto& disk : new_disks_) co_await disk->close();
  new_disks_.clear();
}

}  // namespace holdfast::pool

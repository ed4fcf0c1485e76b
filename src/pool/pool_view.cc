#include <algorithm>
#include <variant>

#include "base/log.h"
#include "pool/pool_impl.h"

namespace holdfast::pool {

PoolStatus Pool::Impl::status() const noexcept {
  const auto& frozen = journal_->frozen();
  if (frozen && frozen->code() != Errc::read_only) return PoolStatus::faulted;
  return std::max(disks_->status(), read_only_ ? PoolStatus::degraded : PoolStatus::online);
}

std::string Pool::Impl::status_reason() const {
  const auto& frozen = journal_->frozen();
  if (frozen && frozen->code() != Errc::read_only) return frozen->message();
  if (const std::string reason = disks_->status_reason(); !reason.empty()) return reason;
  return read_only_ ? frozen->message() : "";
}

PoolView Pool::Impl::view() const {
  PoolView v;
  v.name = name();
  v.uuid = uuid();
  v.status = status();
  v.status_reason = status_reason();
  const std::uint64_t cluster = state_->cluster_bytes();
  const ClusterCounts& clusters = state_->clusters();
  v.cluster_bytes = state_->cluster_bytes();
  v.capacity_bytes = clusters.size() * cluster;
  v.used_bytes = (clusters.size() - clusters.free_clusters()) * cluster;
  v.reserved_bytes = state_->reserved_clusters() * cluster;
  for (const auto& [id, volume] : state_->volumes()) {
    const Usage usage = state_->usage(id);
    const bool snapshot = volume->spec().kind == VolumeKind::snapshot;
    v.committed_bytes += snapshot ? usage.exclusive : volume->spec().size_bytes;
    v.partial_clusters += usage.partial_clusters;
  }
  v.journal_bytes = journal_->ring().bytes;
  v.journal_used_bytes = journal_->used_bytes();
  v.used_percent_warning = options_.used_percent_warning;
  v.used_percent_critical = options_.used_percent_critical;
  v.commits = journal_->stats().commits;
  v.commit_time = journal_->stats().commit_time;
  v.checkpoint_time = checkpoint_time_;
  v.snapshot_pause = snapshot_pause_;
  for (std::uint16_t i = 0; i < disks_->count(); ++i) {
    DiskView& disk = v.disks.emplace_back(disks_->at(i).view());
    disk.capacity_bytes = clusters.disk_clusters(i) * cluster;
    disk.used_bytes = (clusters.disk_clusters(i) - clusters.free_clusters(i)) * cluster;
    v.disk_bytes += disk.size_bytes;
  }
  return v;
}

void Pool::Impl::set_thresholds(unsigned warning, unsigned critical) noexcept {
  HF_ASSERT(warning >= 1 && warning <= critical && critical <= 100);
  options_.used_percent_warning = warning;
  options_.used_percent_critical = critical;
  watch_space();
}

Status Pool::Impl::reset_disk_health(const std::optional<std::string>& uri) {
  bool found = false;
  for (std::uint16_t i = 0; i < disks_->count(); ++i) {
    Disk& disk = disks_->at(i);
    if (uri && disk.uri() != *uri) continue;
    found = true;
    disk.reset_health();
  }
  if (!found) return error(Errc::not_found, "it has no disk '" + uri.value_or("") + "'");
  return Status();
}

void Pool::Impl::watch_space() noexcept {
  const ClusterCounts& clusters = state_->clusters();
  const std::uint64_t used = std::uint64_t{clusters.size()} - clusters.free_clusters();
  const auto reaches = [&](unsigned percent) {
    return used * 100 >= std::uint64_t{clusters.size()} * percent;
  };
  const PoolEvent now = reaches(options_.used_percent_critical)  ? PoolEvent::space_critical
                        : reaches(options_.used_percent_warning) ? PoolEvent::space_warning
                                                                 : PoolEvent::space_ok;
  if (now == told_space_) return;
  told_space_ = now;
  tell(now);
}

void Pool::Impl::on_disk_changed(Disk& disk) noexcept {
  if (journal_ == nullptr) return;  // the pool is going, its disks last
  if (disk.lost_writes() && !journal_->frozen()) {
    journal_->freeze(
        Error(Errc::failed_precondition,
              user() + ": disk '" + disk.uri() +
                  "' could not make durable what was written to it; export the pool and import it again"));
  }
  const PoolStatus now = status();
  if (now == told_status_) return;
  told_status_ = now;
  if (now == PoolStatus::online) {
    HF_LOG(info, "pool", "the pool is online again", {"pool", name()});
  } else {
    HF_LOG(warn, "pool", "the pool's status changed", {"pool", name()}, {"reason", status_reason()});
  }
  tell(PoolEvent::status_changed);
}

// What the records may have mapped is given to nobody else, neither volume nor checkpoint. What is written where they
// may have let go of clusters may be gone when the pool is opened again, and where they may have made a snapshot it may
// be in there: such volumes refuse writes. What they may have replaced stays shared, and so unwritten.
void Pool::Impl::journal_failed(const Error&, std::span<const Record* const> uncertain) noexcept {
  const auto lets_go = [this](VolumeId id) {
    uncertain_.insert(id);
    const auto found = devices_.find(id);
    if (found != devices_.end()) found->second->refuse_writes();
  };
  const auto maps = [this](const WriteRecord& write) {
    state_->clusters().hold(write.cluster);
    const StateVolume* volume = state_->find(write.volume);
    const ClusterView former = volume != nullptr ? volume->map().find(write.index) : ClusterView();
    if (former.mapped() && former.own() != write.cluster) state_->clusters().hold(former.own());
  };
  for (const Record* record : uncertain) {
    if (const auto* r = std::get_if<WriteRecord>(record)) maps(*r);
    if (const auto* r = std::get_if<WriteDataRecord>(record)) maps(r->write);
    if (const auto* r = std::get_if<CreateRecord>(record);
        r != nullptr && r->spec.kind == VolumeKind::snapshot)
      lets_go(r->spec.source);
    if (const auto* r = std::get_if<DeleteRecord>(record)) lets_go(r->volume);
    if (const auto* r = std::get_if<ResizeRecord>(record)) lets_go(r->volume);
    if (const auto* r = std::get_if<RevertRecord>(record)) lets_go(r->volume);
    if (const auto* r = std::get_if<UnmapRecord>(record)) lets_go(r->volume);
    if (const auto* r = std::get_if<TrimRecord>(record)) lets_go(r->volume);
  }
  told_status_ = status();
  tell(PoolEvent::status_changed);
}

}  // namespace holdfast::pool

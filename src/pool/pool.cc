#include "pool/pool.h"

#include <utility>

#include "pool/pool_impl.h"

namespace holdfast::pool {

Pool::Pool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) { impl_->set_pool(*this); }
Pool::~Pool() = default;

Task<Result<std::unique_ptr<Pool>>> Pool::create(DeviceRegistry& registry, PoolParams params,
                                                 PoolOptions options, PoolObserver* observer) {
  auto impl = std::make_unique<Impl>(registry, options, observer);
  const Status made = co_await impl->create(std::move(params));
  if (!made.ok()) {
    co_await impl->let_go();
    co_return made.error();
  }
  std::unique_ptr<Pool> pool(new Pool(std::move(impl)));
  co_return pool;
}

Task<Result<std::unique_ptr<Pool>>> Pool::open(DeviceRegistry& registry, std::vector<std::string> disks,
                                               std::string name, std::optional<Uuid> uuid,
                                               PoolOptions options, PoolObserver* observer) {
  auto impl = std::make_unique<Impl>(registry, options, observer);
  const Status opened = co_await impl->open(std::move(disks), std::move(name), uuid);
  if (!opened.ok()) {
    co_await impl->let_go();
    co_return opened.error();
  }
  std::unique_ptr<Pool> pool(new Pool(std::move(impl)));
  co_return pool;
}

Task<Result<std::optional<DiskLabel>>> Pool::probe(DeviceRegistry& registry, std::string uri) {
  HF_CO_TRY(const std::unique_ptr<Disk> disk,
            co_await Disk::open(registry, std::move(uri), "looking for a pool", PoolOptions().disk_health));
  auto label = co_await read_label(registry.cores().home(), disk->home());
  co_await disk->close();
  std::optional<DiskLabel> found;
  if (label.code() == Errc::not_found) co_return found;
  if (!label.ok()) co_return label.error();
  const Superblock& s = label.value().superblock;
  found = DiskLabel{s.name, s.pool_uuid, s.instance, s.disk_uuid, s.disk_index, s.unfinished()};
  co_return found;
}

const std::string& Pool::name() const noexcept { return impl_->name(); }
const Uuid& Pool::uuid() const noexcept { return impl_->uuid(); }
PoolView Pool::view() const { return impl_->view(); }

Task<Result<VolumeView>> Pool::create_volume(VolumeParams params) {
  return impl_->create_volume(std::move(params));
}
Task<Status> Pool::destroy_volume(Uuid uuid) { return impl_->destroy_volume(uuid); }
Task<Status> Pool::resize_volume(Uuid uuid, std::uint64_t size_bytes) {
  return impl_->resize_volume(uuid, size_bytes);
}
Task<Result<VolumeView>> Pool::create_snapshot(Uuid volume, SnapshotParams params) {
  return impl_->create_snapshot(volume, std::move(params));
}
Task<Result<VolumeView>> Pool::create_clone(Uuid snapshot, SnapshotParams params) {
  return impl_->create_clone(snapshot, std::move(params));
}
Task<Status> Pool::revert_volume(Uuid volume, Uuid snapshot) {
  return impl_->revert_volume(volume, snapshot);
}
Task<Status> Pool::set_attributes(Uuid uuid, Attributes changes) {
  return impl_->set_attributes(uuid, std::move(changes));
}
Result<VolumeView> Pool::find(const Uuid& uuid) const { return impl_->find(uuid); }
Result<VolumeView> Pool::find(std::string_view name) const { return impl_->find(name); }
std::vector<VolumeView> Pool::volumes() const { return impl_->volumes(); }
std::vector<VolumeSpec> Pool::specs() const { return impl_->specs(); }
IoLatencies Pool::latencies(const Uuid& uuid) const noexcept { return impl_->latencies(uuid); }
Task<void> Pool::reset_latencies(Uuid uuid) { return impl_->reset_latencies(uuid); }
BlockDevice* Pool::device(const Uuid& uuid) const noexcept { return impl_->device(uuid); }
Result<std::vector<ByteRange>> Pool::diff(std::optional<Uuid> earlier, Uuid later, std::uint64_t from,
                                          std::size_t ranges_max) const {
  return impl_->diff(earlier, later, from, ranges_max);
}

Result<std::vector<RegionRun>> Pool::region_epochs(Uuid volume, std::uint64_t first,
                                                   std::size_t runs_max) const {
  return impl_->region_epochs(volume, first, runs_max);
}
Task<Status> Pool::raise_regions(Uuid volume, std::vector<RegionRun> runs) {
  return impl_->raise_regions(volume, std::move(runs));
}

Task<Status> Pool::add_disk(std::string uri, bool force) { return impl_->add_disk(std::move(uri), force); }
Task<Status> Pool::grow() { return impl_->grow(); }
Task<Status> Pool::checkpoint() { return impl_->checkpoint(); }
Status Pool::reset_disk_health(const std::optional<std::string>& uri) {
  return impl_->reset_disk_health(uri);
}
void Pool::set_thresholds(unsigned warning, unsigned critical) noexcept {
  impl_->set_thresholds(warning, critical);
}
Task<Status> Pool::close() { return impl_->close(false); }
Task<Status> Pool::destroy() { return impl_->close(true); }

}  // namespace holdfast::pool

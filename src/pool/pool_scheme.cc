#include "pool/pool_scheme.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/log.h"
#include "block/uri.h"
#include "pool/pool.h"

namespace holdfast::pool {

namespace {

struct Wanted {
  std::string volume;
  std::vector<std::string> disks;
  std::optional<std::uint64_t> size;
  std::optional<std::uint64_t> cluster;
  std::uint64_t snapshots = 0;
  bool thick = false;
  bool force = false;
};

constexpr std::uint64_t snapshots_max = 10000;

Result<std::string> volume_of(const Uri& uri) {
  if (uri.authority.empty() && uri.path.size() > 1) return uri.path.substr(1);
  return Error(Errc::invalid_argument, fmt::format("'{}': expected pool:///VOLUME?disks=...", uri.text));
}

Result<Wanted> parse(const Uri& uri) {
  const auto wrong = [&uri](const std::string& why) {
    return Error(Errc::invalid_argument, fmt::format("'{}': {}", uri.text, why));
  };
  Wanted w;
  UriParameters parameters(uri);
  HF_TRY(w.volume, volume_of(uri));
  const std::string disks = parameters.take("disks").value_or("");
  for (std::size_t at = 0; at < disks.size();) {
    const std::size_t end = std::min(disks.find(',', at), disks.size());
    w.disks.push_back(disks.substr(at, end - at));
    at = end + 1;
  }
  HF_TRY(w.size, parameters.take_size("size"));
  HF_TRY(w.cluster, parameters.take_size("cluster"));
  HF_TRY(const auto snapshots, parameters.take_number("snapshots"));
  HF_TRY(w.thick, parameters.take_flag("thick"));
  HF_TRY(w.force, parameters.take_flag("force"));
  HF_CHECK(parameters.finish());
  w.snapshots = snapshots.value_or(0);
  if (w.disks.empty()) return wrong("disks= is missing");
  if (w.snapshots > snapshots_max) return wrong(fmt::format("snapshots= is more than {}", snapshots_max));
  if (w.cluster && *w.cluster > cluster_bytes_max) return wrong("cluster= is too large");
  if (!w.size && (w.cluster || w.thick || w.force)) return wrong("cluster, thick and force need size=");
  return w;
}

// The volume, and the pool that it is in.
class PoolDevice final : public BlockDevice, DeviceObserver {
 public:
  PoolDevice(Identity identity, std::unique_ptr<Pool> pool, BlockDevice& volume, DeviceClaim claim)
      : BlockDevice(std::move(identity)), pool_(std::move(pool)), volume_(volume), claim_(std::move(claim)) {
    volume_.subscribe(*this);
  }
  const Geometry& geometry() const noexcept override { return volume_.geometry(); }
  const Capabilities& capabilities() const noexcept override { return volume_.capabilities(); }
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override {
    return volume_.open_channel(core);
  }
  Task<IoStats> stats() override { return volume_.stats(); }
  EpochClient* epochs() noexcept override { return volume_.epochs(); }
  Task<void> close() override {
    volume_.unsubscribe(*this);
    claim_.release();
    const Status closed = co_await pool_->close();
    if (!closed.ok()) HF_LOG(warn, "pool", "cannot be closed", {"error", closed.error()});
    pool_.reset();
  }

 private:
  void on_device_event(BlockDevice&, DeviceEvent event) noexcept override { raise(event); }

  std::unique_ptr<Pool> pool_;
  BlockDevice& volume_;
  DeviceClaim claim_;
};

Task<Result<std::unique_ptr<Pool>>> create_pool(DeviceRegistry& registry, const Wanted& w) {
  PoolParams params;
  params.name = w.volume;
  params.disks = w.disks;
  params.force = w.force;
  if (w.cluster) params.cluster_bytes = static_cast<std::uint32_t>(*w.cluster);
  HF_CO_TRY(std::unique_ptr<Pool> pool, co_await Pool::create(registry, params, PoolOptions(), nullptr));
  VolumeParams volume;
  volume.name = w.volume;
  volume.uuid = Uuid::from_name(w.volume + pool->uuid().to_string());
  volume.size_bytes = *w.size;
  volume.thick = w.thick;
  const auto made = co_await pool->create_volume(std::move(volume));
  if (made.ok()) co_return pool;
  const Status gone = co_await pool->destroy();
  gone.ignore("the error is told");
  co_return made.error();
}

Task<Status> take_snapshots(Pool& pool, const VolumeSpec volume, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    SnapshotParams params;
    params.name = fmt::format("{}@{}", volume.name, pool.specs().size());
    params.uuid = Uuid::from_name(params.name + pool.uuid().to_string());
    const auto taken = co_await pool.create_snapshot(volume.uuid, std::move(params));
    if (!taken.ok()) co_return taken.error();
  }
  co_return Status();
}

Task<Result<std::unique_ptr<BlockDevice>>> device_in(DeviceRegistry& registry, const Uri& uri,
                                                     const Wanted& w, std::unique_ptr<Pool>& pool) {
  HF_CO_TRY(const VolumeView view, pool->find(w.volume));
  HF_CO_CHECK(co_await take_snapshots(*pool, view.spec, w.snapshots));
  BlockDevice& volume = *pool->device(view.spec.uuid);
  HF_CO_TRY(DeviceClaim claim, registry.claim(volume, "device 'pool/" + w.volume + "'"));
  BlockDevice::Identity identity;
  identity.name = "pool/" + w.volume;
  identity.uuid = view.spec.uuid;
  identity.uri = uri.text;
  identity.product_name = "Pool with one volume";
  std::unique_ptr<BlockDevice> device =
      std::make_unique<PoolDevice>(std::move(identity), std::move(pool), volume, std::move(claim));
  co_return device;
}

Task<Result<std::unique_ptr<BlockDevice>>> make(DeviceRegistry& registry, const Uri& uri) {
  HF_CO_TRY(const Wanted w, parse(uri));
  Task<Result<std::unique_ptr<Pool>>> opening =
      w.size ? create_pool(registry, w)
             : Pool::open(registry, w.disks, std::string(), std::nullopt, PoolOptions(), nullptr);
  HF_CO_TRY(std::unique_ptr<Pool> pool, co_await std::move(opening));
  auto device = co_await device_in(registry, uri, w, pool);
  if (!device.ok()) {
    const Status closed = co_await pool->close();
    closed.ignore("the error is told");
  }
  co_return device;
}

}  // namespace

DeviceRegistry::Scheme pool_scheme(DeviceRegistry& registry) {
  DeviceRegistry::Scheme scheme;
  scheme.name = [](const Uri& uri) -> Result<std::string> {
    HF_TRY(const std::string volume, volume_of(uri));
    return "pool/" + volume;
  };
  scheme.create = [&registry](const Uri& uri) { return make(registry, uri); };
  return scheme;
}

}  // namespace holdfast::pool

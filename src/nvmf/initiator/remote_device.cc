#include "nvmf/initiator/remote_device.h"

#include <utility>

#include "nvmf/initiator/remote_channel.h"
#include "nvmf/initiator/remote_epochs.h"
#include "nvmf/initiator/remote_reservations.h"
#include "rt/cross_core.h"

namespace holdfast::nvmf {

Task<Result<std::unique_ptr<BlockDevice>>> RemoteDevice::open(const Cores& cores, RemoteConfig remote,
                                                              std::string uri) {
  Identity identity;
  identity.name = remote.device_name();
  identity.uri = std::move(uri);
  identity.product_name = "NVMe-oF namespace";
  auto paths = std::make_unique<host::PathGroup>(cores, std::move(remote));
  const Status started = co_await paths->start();
  if (!started.ok()) {
    co_await paths->close();
    co_return started.error().with_context("'" + identity.uri + "'");
  }
  identity.uuid = paths->remote().uuid.value_or(paths->space().uuid);
  if (identity.uuid.is_nil()) identity.uuid = Uuid::from_name(identity.name);
  std::unique_ptr<BlockDevice> device(new RemoteDevice(std::move(identity), cores, std::move(paths)));
  co_return device;
}

const RemoteDevice* RemoteDevice::from(const BlockDevice& device) noexcept {
  return dynamic_cast<const RemoteDevice*>(&device);
}

RemoteDevice::RemoteDevice(Identity identity, const Cores& cores, std::unique_ptr<host::PathGroup> paths)
    : BlockDevice(std::move(identity)),
      cores_(cores),
      paths_(std::move(paths)),
      epochs_(host::make_remote_epochs(*paths_)),
      snapshots_(host::make_remote_snapshots(*paths_)),
      geometry_(paths_->space().geometry),
      capabilities_(paths_->space().capabilities) {
  paths_->set_observer(*this);
  const unsigned home = cores.home().core();
  host::ReservationPath path = [this, home]() -> Task<Result<host::CoreIo*>> {
    HF_CO_CHECK(co_await paths_->use_core(home));
    co_return &paths_->io(home);
  };
  reservations_ = host::make_remote_reservations(std::move(path), paths_->remote().config.hostid);
}

void RemoteDevice::on_group_event(DeviceEvent event) noexcept {
  geometry_ = paths_->space().geometry;
  capabilities_ = paths_->space().capabilities;
  raise(event);
}

Task<Result<std::unique_ptr<Channel>>> RemoteDevice::open_channel(Reactor& core) {
  const unsigned index = core.core();
  auto at_home = [this, index]() -> Task<Status> { return paths_->use_core(index); };
  HF_CO_CHECK(co_await run_on(core, cores_.home(), at_home));
  host::CoreIo& io = paths_->io(paths_->serving_core(index));
  std::unique_ptr<Channel> channel = host::make_remote_channel(core, io);
  co_return channel;
}

Task<IoStats> RemoteDevice::stats() {
  IoStats sum;
  for (Reactor* core : cores_) {
    host::CoreIo& io = paths_->io(core->core());
    auto read = [&io]() -> Task<IoStats> { co_return io.stats; };
    const IoStats one = co_await run_on(cores_.home(), io.reactor(), read);
    sum += one;
  }
  co_return sum;
}

}  // namespace holdfast::nvmf

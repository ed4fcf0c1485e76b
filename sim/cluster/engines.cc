#include "sim/cluster/engines.h"

#include <algorithm>

#include <fmt/format.h>

#include "block/builtin.h"
#include "nvmf/initiator/initiator.h"
#include "rt/cross_core.h"

namespace holdfast::sim {

namespace {

constexpr Nanos retry = 300ms;

// One subsystem with one namespace.
Task<Status> export_device(nvmf::Target& target, std::string nqn, BlockDevice& device, Uuid uuid) {
  nvmf::SubsystemConfig subsystem;
  subsystem.nqn = nqn;
  subsystem.serial = nvmf::subsystem_serial(uuid);
  HF_CO_CHECK(co_await target.add_subsystem(std::move(subsystem)));
  nvmf::NamespaceConfig space;
  space.uuid = uuid;
  HF_CO_CHECK(co_await target.add_namespace(std::move(nqn), std::move(space), device));
  const Endpoint at{"0.0.0.0", nvmf_port};
  HF_CO_CHECK(co_await target.listen(at));
  co_return Status();
}

Result<BlockDevice*> with_epochs(DeviceRegistry& devices, BlockDevice& disk, Replica& replica) {
  HF_TRY(DeviceClaim claim, devices.claim(disk, "epochs"));
  BlockDevice::Identity identity = disk.identity();
  identity.name += "+epochs";
  return devices.adopt(make_epoch_disk(std::move(identity), std::move(claim), replica.table));
}

Uuid volume_uuid() { return Uuid::from_name("the volume"); }

}  // namespace

std::string replica_nqn(const Replica& r) { return nvmf::subsystem_nqn(fmt::format("replica{}", r.index)); }
std::string volume_nqn() { return nvmf::subsystem_nqn("volume"); }
std::string volume_key() { return "/volume"; }

ReplicaEngine::ReplicaEngine(Cluster& cluster, Replica& replica, Process& process)
    : cluster_(cluster),
      replica_(replica),
      devices_(process.cores()),
      target_(process.cores(), nvmf::TargetConfig()) {
  register_builtin_schemes(devices_, process.cores(), replica.node->name());
}

Task<void> ReplicaEngine::start() {
  const Status s = co_await try_start();
  up_ = s.ok();
  // A dead disk cannot be opened; nobody expects that engine to serve.
  if (!s.ok() && !replica_.dead) cluster_.fail(replica_.node->name() + ": " + s.error().message());
}

Task<Status> ReplicaEngine::try_start() {
  const std::string uri = fmt::format("aio://{}?blk_size={}&uuid={}", replica_.disk_path,
                                      cluster_.swarm().block_bytes, replica_.uuid);
  HF_CO_TRY(device_, co_await devices_.create(uri));
  if (cluster_.swarm().pools) {
    HF_CO_CHECK(co_await open_pool(*device_));
  } else if (cluster_.swarm().epochs) {
    HF_CO_TRY(device_, with_epochs(devices_, *device_, replica_));
  }
  co_return co_await export_device(target_, replica_nqn(replica_), *device_, device_->identity().uuid);
}

// One disk, one volume.
Task<Status> ReplicaEngine::open_pool(BlockDevice& disk) {
  const Swarm& swarm = cluster_.swarm();
  pool::PoolOptions options;
  options.journal_bytes = 64 * KiB;
  std::vector<std::string> disks;
  disks.push_back(disk.name());
  HF_CO_TRY(const Uuid uuid, Uuid::parse(replica_.uuid));
  if (replica_.has_pool) {
    HF_CO_TRY(pool_,
              co_await pool::Pool::open(devices_, std::move(disks), "", std::nullopt, options, nullptr));
  } else {
    pool::PoolParams params;
    params.name = "pool";
    params.disks = std::move(disks);
    params.cluster_bytes = swarm.cluster_bytes;
    HF_CO_TRY(pool_, co_await pool::Pool::create(devices_, std::move(params), options, nullptr));
    pool::VolumeParams volume;
    volume.name = "replica";
    volume.uuid = uuid;
    volume.size_bytes = 5 * MiB + swarm.volume_bytes + 128 * KiB;
    HF_CO_CHECK(co_await pool_->create_volume(std::move(volume)));
    replica_.has_pool = true;
  }
  device_ = pool_->device(uuid);
  co_return Status();
}

std::vector<bool> ReplicaEngine::changed_since(std::uint32_t epoch) const {
  Task<Result<EpochState>> ask_state = device_->epochs()->state();
  ask_state.start(nullptr);  // neither of the two waits for anything
  const std::uint64_t regions = ask_state.take().value().regions;
  Task<Result<RegionBitmap>> ask = device_->epochs()->changed_since(epoch, 0, regions);
  ask.start(nullptr);
  const Result<RegionBitmap> bits = ask.take();
  std::vector<bool> changed;
  for (std::uint64_t i = 0; bits.ok() && i < regions; ++i) {
    changed.push_back(bits.value().has(i));
  }
  return changed;
}

Task<bool> ReplicaEngine::read_all(std::uint64_t from, std::uint64_t blocks, std::vector<Value>& into) {
  return read_from(*device_, from, blocks, into);
}

Task<bool> ReplicaEngine::read_snapshot(Uuid uuid, std::uint64_t from, std::uint64_t blocks,
                                        std::vector<Value>& into) {
  BlockDevice* const device = pool_->device(uuid);
  co_return device != nullptr&& co_await read_from(*device, from, blocks, into);
}

Task<bool> ReplicaEngine::read_from(BlockDevice& device, std::uint64_t from, std::uint64_t blocks,
                                    std::vector<Value>& into) {
  Reactor& core = devices_.cores().home();
  auto channel = co_await device.open_channel(core);
  if (!channel.ok()) co_return false;
  const std::uint64_t block_bytes = cluster_.swarm().block_bytes;
  const std::uint64_t piece = 64 * KiB / block_bytes;
  bool good = true;
  into.clear();
  for (std::uint64_t at = 0; at < blocks && good; at += piece) {
    std::vector<std::byte> data(std::min(piece, blocks - at) * block_bytes);
    const IoVec vec{data.data(), data.size()};
    const Status s = co_await channel.value()->read(Lba{from / block_bytes + at}, IoVecs(&vec, 1));
    good = s.ok();
    for (std::uint64_t i = 0; good && i * block_bytes < data.size(); ++i) {
      into.push_back(read_stamp(std::span(data).subspan(i * block_bytes, block_bytes), at + i));
    }
  }
  co_await channel.value()->close();
  co_return good;
}

Task<void> ReplicaEngine::stop() {
  co_await target_.close();
  if (pool_) (co_await pool_->close()).ignore("the disks tell the rest");
  co_await devices_.close();
}

NexusEngine::NexusEngine(Cluster& cluster, Process& process)
    : cluster_(cluster),
      process_(process),
      store_(cluster.store(), process.core(0)),
      devices_(process.cores()),
      target_(process.cores(), nvmf::TargetConfig()),
      nexuses_(devices_, store_, cluster.swarm().nexus, this),
      random_(cluster.world().fork_random()),
      living_(process.core(0)) {
  register_builtin_schemes(devices_, process.cores(), "nexus");
  nvmf::InitiatorConfig config = cluster.swarm().child;
  config.fail_after_restart = true;
  config.refused_grace = 500ms;
  nvmf::complete_identity(config);
  nvmf::register_nvmf_scheme(devices_, process.cores(), config);
}

Task<void> NexusEngine::live() {
  const Gate::Hold hold = living_.enter();
  for (unsigned attempt = 0; !stop_.stop_requested(); ++attempt) {
    const Status s = co_await try_create(attempt % 2 == 0);
    if (s.ok()) break;
    cluster_.note("the nexus is not created: " + s.error().message());
    co_await home().sleep(retry, stop_.token());
  }
  if (nexus_ == nullptr) co_return;
  const Status shared = co_await export_device(target_, volume_nqn(), *nexus_, volume_uuid());
  if (!shared.ok()) {
    cluster_.fail("the nexus cannot be exported: " + shared.error().message());
    co_return;
  }
  up_ = true;
  cluster_.note("the nexus is up");
  co_await keep_whole();
}

// Everybody, or a part that the record allows: at least one of those that it calls healthy.
std::vector<std::string> NexusEngine::choose_children(bool everybody) {
  std::vector<std::string> chosen;
  std::vector<std::string> healthy;
  const bool first_time = cluster_.record() == nullptr;
  for (const Replica& r : cluster_.replicas()) {
    if (cluster_.recorded_healthy(r)) healthy.push_back(r.uri);
    if ((everybody || random_.chance(1, 2)) && (!r.dead || first_time)) chosen.push_back(r.uri);
  }
  if (!healthy.empty()) {
    const std::string& one = healthy[random_.below(healthy.size())];
    if (std::find(chosen.begin(), chosen.end(), one) == chosen.end()) chosen.push_back(one);
  }
  return chosen;
}

Task<Status> NexusEngine::try_create(bool everybody) {
  nexus::NexusParams params;
  params.name = "volume";
  params.uuid = volume_uuid();
  params.size_bytes = cluster_.swarm().volume_bytes;
  params.children = choose_children(everybody || cluster_.record() == nullptr);
  params.membership_key = volume_key();
  HF_CO_TRY(nexus_, co_await nexuses_.create(std::move(params)));
  co_return Status();
}

Task<void> NexusEngine::keep_whole() {
  while (co_await home().sleep(Nanos(100'000'000 + random_.below(900'000'000)), stop_.token())) {
    const nexus::NexusView view = nexus_->view();
    for (const nexus::ChildView& child : view.children) {
      if (child.state != nexus::ChildState::online && !child.rebuild) co_await bring_back(child);
    }
    for (const Replica& r : cluster_.replicas()) {
      const auto is = [&](const nexus::ChildView& c) { return c.uri == r.uri; };
      if (r.dead || std::any_of(view.children.begin(), view.children.end(), is)) continue;
      const Status s = co_await nexus_->add_child(r.uri, false);
      if (!s.ok()) cluster_.note("add " + r.node->name() + ": " + s.error().message());
    }
    for (const nexus::ChildView& child : view.children) {
      if (!child.rebuild || child.rebuild->state != nexus::RebuildState::paused) continue;
      (co_await nexus_->resume_rebuild(child.uri)).ignore("tried again");
    }
  }
}

bool NexusEngine::uses(const Replica& r) const {
  const nexus::NexusView view = nexus_->view();
  return std::any_of(view.children.begin(), view.children.end(), [&](const nexus::ChildView& c) {
    return c.uri == r.uri && c.state == nexus::ChildState::online;
  });
}

Task<void> NexusEngine::bring_back(nexus::ChildView child) {
  if (random_.chance(1, 4)) co_return;
  // Open, but nobody rebuilds it: it was added so, or somebody stopped the rebuild.
  if (child.reason == nexus::ChildReason::out_of_sync) {
    (co_await nexus_->start_rebuild(child.uri)).ignore("tried again");
    co_return;
  }
  cluster_.note("online " + child.uri);
  Status s = co_await nexus_->online_child(child.uri);
  if (s.ok()) co_return;
  cluster_.note("online " + child.uri + ": " + s.error().message());
  if (!random_.chance(1, 3)) co_return;
  cluster_.note("remove " + child.uri);
  s = co_await nexus_->remove_child(child.uri);
  if (!s.ok()) cluster_.note("remove " + child.uri + ": " + s.error().message());
}

Task<void> NexusEngine::meddle() {
  const Gate::Hold hold = living_.enter();
  if (!hold || !up_) co_return;
  const auto& all = cluster_.replicas();
  const Replica& r = all[random_.below(all.size())];
  const std::string uri = r.uri;
  constexpr const char* names[] = {"offline", "online", "fault",  "remove", "add",
                                   "stop",    "pause",  "resume", "start",  "add without rebuild"};
  const std::uint64_t what = random_.below(std::size(names));
  cluster_.note(fmt::format("a person: {} {}", names[what], r.node->name()));
  Task<Status> chosen;
  switch (what) {
    case 0:
      chosen = nexus_->offline_child(uri);
      break;
    case 1:
      chosen = nexus_->online_child(uri);
      break;
    case 2:
      chosen = nexus_->fault_child(
          uri, random_.chance(1, 2) ? nexus::Fault::io_error : nexus::Fault::offline_permanent);
      break;
    case 3:
      chosen = nexus_->remove_child(uri);
      break;
    case 4:
      chosen = nexus_->add_child(uri, false);
      break;
    case 5:
      chosen = nexus_->stop_rebuild(uri);
      break;
    case 6:
      chosen = nexus_->pause_rebuild(uri);
      break;
    case 7:
      chosen = nexus_->resume_rebuild(uri);
      break;
    case 8:
      chosen = nexus_->start_rebuild(uri);
      break;
    default:
      chosen = nexus_->add_child(uri, true);
      break;
  }
  const Status s = co_await chosen;
  cluster_.note(fmt::format("  {} {}: {}", names[what], r.node->name(), s.ok() ? "ok" : s.error().message()));
}

Task<void> NexusEngine::take_snapshot() {
  const Gate::Hold hold = living_.enter();
  if (!hold || !up_) co_return;
  const auto number = cluster_.next_snapshot();
  if (!number) co_return;
  Cluster::Snapshot taken;
  std::vector<nexus::ChildSnapshot> wanted;
  for (const Replica& r : cluster_.replicas()) {
    if (!uses(r)) continue;
    nexus::ChildSnapshot one;
    one.uri = r.uri;
    one.request.name = fmt::format("s{}", *number);
    one.request.uuid = Uuid::from_name(fmt::format("snapshot {} of {}", *number, r.index));
    taken.parts.emplace_back(r.index, one.request.uuid);
    wanted.push_back(std::move(one));
  }
  BlockHistory& history = cluster_.history();
  const auto look = history.begin_read(0, history.block_count());
  const auto made = co_await nexus_->snapshot(std::move(wanted));
  taken.legal = history.end_look(look);
  if (!made.ok()) {
    cluster_.note("no snapshot: " + made.error().message());
    co_return;
  }
  for (std::size_t i = made.value().size(); i-- > 0;) {
    if (made.value()[i].outcome != Errc::ok)
      taken.parts.erase(taken.parts.begin() + static_cast<std::ptrdiff_t>(i));
  }
  cluster_.note(fmt::format("snapshot {} of {} replicas", *number, taken.parts.size()));
  cluster_.keep(std::move(taken));
}

void NexusEngine::on_child_changed(const nexus::NexusView&, const nexus::ChildView& child) noexcept {
  cluster_.note(
      fmt::format("child {}: {} ({})", child.uri, nexus::name(child.state), nexus::name(child.reason)));
}

void NexusEngine::on_rebuild_started(const nexus::NexusView& view,
                                     const nexus::RebuildRecord& record) noexcept {
  if (cluster_.swarm().epochs) cluster_.expect_copy(view, record);
}

void NexusEngine::on_rebuild_ended(const nexus::NexusView&, const nexus::RebuildRecord& record) noexcept {
  cluster_.note(fmt::format("rebuild of {}: {}", record.child_uri, nexus::name(record.state)));
  cluster_.check_copied(record);
}

Task<void> NexusEngine::stop() {
  up_ = false;  // nobody asks nexus_ from here on
  stop_.request_stop();
  co_await living_.close();
  co_await target_.close();
  co_await nexuses_.close();
  co_await devices_.close();
}

Host::Host(Cluster& cluster, Process& process)
    : cluster_(cluster), process_(process), devices_(process.cores()) {
  nvmf::InitiatorConfig config = cluster.swarm().host;
  nvmf::complete_identity(config);
  nvmf::register_nvmf_scheme(devices_, process.cores(), config);
}

Task<void> Host::start() {
  for (;;) {
    const Status s = co_await open();
    if (s.ok()) break;
    cluster_.note("the host cannot open the volume: " + s.error().message());
    co_await process_.core(0).sleep(retry);
  }
  up_ = true;
}

Task<Status> Host::open() {
  const std::string uri =
      fmt::format("nvmf://{}:{}/{}", cluster_.nexus_node().ipv4(), nvmf_port, volume_nqn());
  HF_CO_TRY(device_, co_await devices_.create(uri));
  for (unsigned i = 0; i < process_.core_count(); ++i) {
    SimReactor& core = process_.core(i);
    auto there = [&]() -> Task<Result<std::unique_ptr<Channel>>> { return device_->open_channel(core); };
    HF_CO_TRY(std::unique_ptr<Channel> channel,
              co_await run_on(static_cast<Reactor&>(process_.core(0)), static_cast<Reactor&>(core), there));
    channels_.push_back(std::move(channel));
  }
  co_return Status();
}

Task<void> Host::stop() {
  for (unsigned i = 0; i < channels_.size(); ++i) {
    SimReactor& core = process_.core(i);
    auto there = [&]() -> Task<void> {
      co_await channels_[i]->close();
      channels_[i].reset();
    };
    co_await run_on(static_cast<Reactor&>(process_.core(0)), static_cast<Reactor&>(core), there);
  }
  channels_.clear();
  co_await devices_.close();
}

}  // namespace holdfast::sim

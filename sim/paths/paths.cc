#include "sim/paths/paths.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "sim/paths/run.h"

namespace holdfast::sim {
namespace {

constexpr std::uint16_t port = 8420;
constexpr Nanos fault_limit = std::chrono::minutes(2);
constexpr Nanos fault_max = 10s;
constexpr Nanos drain_limit = std::chrono::minutes(10);
const std::string nqn = "nqn.2019-05.io.openebs:paths";

Nanos between(Prng& p, Nanos low, Nanos high) {
  return Nanos(p.between(static_cast<std::uint64_t>(low.count()), static_cast<std::uint64_t>(high.count())));
}

void draw_config(PathsSwarm& s, Prng& p) {
  s.config.header_digest = p.chance(1, 2);
  s.config.data_digest = p.chance(1, 2);
  s.config.queue_depth = p.chance(1, 3) ? static_cast<std::uint32_t>(p.between(1, 4)) : 128;
  s.config.max_transfer_bytes = p.chance(1, 3) ? 4096 : 1 << 20;
  s.config.keep_alive = between(p, 1s, 4s);
  s.config.connect_timeout = between(p, 500ms, 3s);
  s.config.io_timeout = p.chance(1, 3) ? between(p, 300ms, 3s) : 120s;
  s.config.abort_timeout = between(p, 50ms, 1s);
  s.config.backoff_failed = 1s;
  s.long_grace = s.config.io_timeout > 100s && p.chance(3, 4);
  s.config.grace = s.long_grace ? Nanos(1h) : between(p, 0ms, 3s);
  s.config.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:host";
}

}  // namespace

PathsSwarm PathsSwarm::draw(std::uint64_t seed) {
  Prng p(seed * 2654435761u + 17);
  PathsSwarm s;
  s.seed = seed;
  s.targets = static_cast<unsigned>(p.between(1, 3));
  s.both_families = p.chance(1, 3);
  s.host_cores = static_cast<unsigned>(p.between(1, 2));
  s.target_cores = static_cast<unsigned>(p.between(1, 2));
  s.blocks = p.between(128, 512);
  s.tenants = static_cast<unsigned>(p.between(1, 4));
  s.slots_per_tenant = static_cast<unsigned>(p.between(1, 3));
  s.operations = static_cast<unsigned>(p.between(200, 900));
  s.operation_blocks_max = static_cast<unsigned>(p.chance(1, 3) ? p.between(17, 32) : p.between(1, 16));
  if (p.chance(1, 2)) s.h2c_data_bytes_max = 4096;
  s.pause_max = between(p, 1ms, 100ms);
  s.link.latency_max = between(p, 20us, 2ms);
  if (p.chance(1, 3)) s.link.bytes_per_second = p.between(1, 20) * 1'000'000;
  if (p.chance(1, 3)) s.link.spike_per_mille = static_cast<unsigned>(p.between(1, 20));
  s.latency_max = p.chance(1, 3) ? between(p, 1ms, 50ms) : 200us;
  s.fault_interval = between(p, 20ms, 500ms);
  s.cut = p.chance(2, 3);
  s.partition = p.chance(1, 2);
  s.refuse = p.chance(1, 4);
  s.crash = p.chance(1, 3);
  s.freeze = p.chance(1, 4);
  s.stall = p.chance(1, 3);
  s.ana = p.chance(1, 2);
  s.path_errors = p.chance(1, 4);
  draw_config(s, p);
  if ((s.config.header_digest || s.config.data_digest) && p.chance(2, 3))
    s.damage_per_mille = static_cast<unsigned>(p.chance(1, 4) ? p.between(1, 50) : p.between(1, 5));
  if (p.chance(1, 2)) s.hold_per_mille = static_cast<unsigned>(p.between(1, 1000));
  return s;
}

std::string PathsSwarm::to_string() const {
  const auto ms = [](Nanos d) { return d / 1ms; };
  std::string text = fmt::format(
      "seed {}: {} targets{}, cores {} and {}, {} blocks, {} x {} slots, {} operations of up to {} blocks\n",
      seed, targets, both_families ? " with two addresses" : "", host_cores, target_cores, blocks, tenants,
      slots_per_tenant, operations, operation_blocks_max);
  text += fmt::format("  hdgst {} ddgst {} depth {} transfer {} kato {} io_timeout {} grace {} ms\n",
                      config.header_digest, config.data_digest, config.queue_depth, config.max_transfer_bytes,
                      ms(config.keep_alive), ms(config.io_timeout), ms(config.grace));
  text += fmt::format("  sends held {} per mille\n", hold_per_mille);
  text += "  faults:";
  for (const auto& [on, name] : {std::pair(cut, " cut"),
                                 {partition, " partition"},
                                 {refuse, " refuse"},
                                 {crash, " crash"},
                                 {freeze, " freeze"},
                                 {stall, " stall"},
                                 {ana, " ana"},
                                 {path_errors, " path_errors"}}) {
    if (on) text += name;
  }
  if (damage_per_mille > 0) text += fmt::format(" damage ({} per mille)", damage_per_mille);
  return text + fmt::format(", one about every {} ms\n", ms(fault_interval));
}

PathsRun::PathsRun(const PathsSwarm& swarm, bool verbose)
    : swarm_(swarm),
      verbose_(verbose),
      world_(swarm.seed),
      random_(world_.fork_random()),
      store_(swarm.blocks),
      history_(swarm.blocks),
      covered_(swarm.config.header_digest, swarm.config.data_digest),
      host_node_(world_.add_node("host")),
      left_(swarm.operations) {
  for (unsigned i = 0; i < swarm_.targets; ++i) {
    targets_.push_back(std::make_unique<TargetSide>());
    targets_.back()->node = &world_.add_node(fmt::format("target{}", i));
    targets_.back()->behavior.latency_max = swarm_.latency_max;
  }
  world_.net().set_default_link(swarm_.link);
  if (swarm_.damage_per_mille > 0) {
    world_.net().set_damage_where(
        [this](std::uint64_t connection, int side, std::span<const std::byte> piece) {
          return covered_.places(connection, side, piece);
        });
  }
  world_.net().set_hold_per_mille(swarm_.hold_per_mille);
  const std::uint64_t share = swarm_.blocks / swarm_.tenants;
  for (unsigned i = 0; i < swarm_.tenants; ++i) {
    tenants_.emplace_back();
    tenants_.back().first = i * share;
    tenants_.back().count = share;
  }
}

// A run that failed stops where it is.
PathsRun::~PathsRun() {
  if (shut_down_) return;
  host_node_.crash(CrashKind::process);
  for (auto& channel : channels_) bury(channel.release());
  bury(device_.release());
  for (auto& side : targets_) {
    side->node->crash(CrashKind::process);
    bury(side->target.release());
    bury(side->device.release());
  }
}

void PathsRun::note(const std::string& line) {
  if (verbose_) fmt::print("{:12.6f} {}\n", static_cast<double>(world_.now().count()) / 1e9, line);
}

void PathsRun::fail(const std::string& why) {
  note("FAILED: " + why);
  failures_.push_back(why);
}

// ---- set-up and end

Task<Status> PathsRun::serve(TargetSide& side) {
  nvmf::SubsystemConfig subsystem;
  subsystem.nqn = nqn;
  subsystem.serial = "1";
  const unsigned width = 1000;
  subsystem.cntlid_min = static_cast<std::uint16_t>(1 + side.node->index() * width);
  subsystem.cntlid_max = static_cast<std::uint16_t>(subsystem.cntlid_min + width - 1);
  HF_CO_CHECK(co_await side.target->add_subsystem(subsystem));
  nvmf::NamespaceConfig space;
  space.uuid = side.device->identity().uuid;
  space.ana_state = side.ana;
  HF_CO_CHECK(co_await side.target->add_namespace(nqn, space, *side.device));
  const Endpoint v4{"0.0.0.0", port};
  const Endpoint v6{"::", port};
  HF_CO_CHECK(co_await side.target->listen(v4));
  HF_CO_CHECK(co_await side.target->listen(v6));
  co_return Status();
}

void PathsRun::start_target(TargetSide& side) {
  Process& process = side.node->start(swarm_.target_cores);
  side.changing = false;
  side.device = std::make_unique<SharedDevice>(store_, side.behavior, Uuid::from_name("paths"));
  nvmf::TargetConfig config;
  config.h2c_data_bytes_max = swarm_.h2c_data_bytes_max;
  side.target = std::make_unique<nvmf::Target>(process.cores(), config);
  auto start = [](PathsRun& run, TargetSide& s) -> Task<void> {
    const Status served = co_await run.serve(s);
    if (!served.ok()) run.fail("a target did not start: " + served.error().message());
  };
  world_.spawn(process.core(0), start(*this, side));
}

nvmf::RemoteConfig PathsRun::remote() const {
  nvmf::RemoteConfig r;
  std::vector<Endpoint> all;
  for (const auto& side : targets_) {
    all.push_back(Endpoint{side->node->ipv4(), port});
    if (swarm_.both_families) all.push_back(Endpoint{side->node->ipv6(), port});
  }
  r.host = all.front();
  r.more.assign(all.begin() + 1, all.end());
  r.nqn = nqn;
  r.config = swarm_.config;
  nvmf::complete_identity(r.config);
  return r;
}

Task<void> PathsRun::open_all(bool& done) {
  auto opened = co_await nvmf::RemoteDevice::open(host_->cores(), remote(), "nvmf://paths");
  if (opened.ok()) {
    device_ = std::move(opened).value();
  } else {
    fail("the device does not open: " + opened.error().message());
  }
  done = true;
}

bool PathsRun::set_up() {
  for (auto& side : targets_) start_target(*side);
  world_.run_for(10ms);
  host_ = &host_node_.start(swarm_.host_cores);
  bool done = false;
  world_.spawn(host_->core(0), open_all(done));
  world_.run_until([&] { return done; }, world_.now() + 10s);
  if (over()) return false;
  for (unsigned core = 0; core < swarm_.host_cores; ++core) {
    auto got = world_.run(host_->core(core), device_->open_channel(host_->core(core)));
    if (!got.ok()) {
      fail("no channel: " + got.error().message());
      return false;
    }
    channels_.push_back(std::move(got).value());
  }
  return true;
}

void PathsRun::run() {
  if (set_up()) {
    start_workload();
    faulty_ = true;
    choose_faults();
    world_.net().set_damage(swarm_.damage_per_mille);
    world_.after(swarm_.fault_interval, [this] { strike(); });
    const auto ended = [&] { return slots_running_ == 0 || over(); };
    world_.run_until(ended, world_.now() + fault_limit);
    faulty_ = false;
    heal();
    if (!world_.run_until(ended, world_.now() + drain_limit))
      fail(fmt::format("{} slots never ended their operations", slots_running_));
  }
  if (!over()) {
    // What may still be executed has been, and every fault is over.
    world_.run_for(std::max<Nanos>(swarm_.config.keep_alive * 2, fault_max));
    check_store();
  }
  if (!over()) shut_down();
}

void PathsRun::shut_down() {
  for (std::size_t core = 0; core < channels_.size(); ++core)
    world_.run(host_->core(static_cast<unsigned>(core)), channels_[core]->close());
  channels_.clear();
  world_.run(host_->core(0), device_->close());
  device_.reset();
  for (auto& side : targets_) {
    world_.run(side->node->process()->core(0), side->target->close());
    side->target.reset();
  }
  world_.run_for(1s);  // what is still on the wire
  shut_down_ = true;
}

// ---- for campaigns

RunResult run_paths_seed(std::uint64_t seed, bool verbose) {
  PathsRun run(PathsSwarm::draw(seed), verbose);
  log::configure(log::Level::info, log::Format::text);
  log::set_sink([&](log::Level, std::string_view component, std::string_view line) {
    run.note(fmt::format("    {}: {}", component, line));
  });
  run.run();
  log::set_sink({});
  RunResult result;
  result.failures = run.failures();
  result.operations = run.finished();
  result.operations_failed = run.failed();
  result.faults = run.faults();
  result.damaged = run.world().net().damaged();
  result.trace = run.world().trace();
  result.steps = run.world().steps();
  result.virtual_seconds = static_cast<double>(run.world().now().count()) / 1e9;
  return result;
}

std::string describe_paths_seed(std::uint64_t seed) { return PathsSwarm::draw(seed).to_string(); }

}  // namespace holdfast::sim

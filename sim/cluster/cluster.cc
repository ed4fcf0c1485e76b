#include "sim/cluster/cluster.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "nexus/layout.h"
#include "sim/cluster/engines.h"
#include "sim/reactor.h"

namespace holdfast::sim {

namespace {

constexpr std::size_t buffer_budget_bytes = 16 * MiB;

std::uint64_t hash(std::string_view text) {
  std::uint64_t h = 14695981039346656037u;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return h;
}

}  // namespace

Cluster::Cluster(const Swarm& swarm, bool verbose)
    : swarm_(swarm), verbose_(verbose), world_(swarm.seed), store_(world_) {
  world_.net().set_default_link(swarm.link);
  world_.net().set_hold_per_mille(swarm.hold_per_mille);
  for (unsigned i = 0; i < swarm.remote_replicas; ++i) add_replica(false);
  nexus_node_ = &world_.add_node("nexus");
  host_node_ = &world_.add_node("host");
  if (swarm.local_child) add_replica(true);
  const auto watch = [this](const nexus::Record& before, const nexus::Record& now) {
    watch_record(before, now);
  };
  store_.watch(watch);
}

Cluster::~Cluster() {
  // A run that failed, or that was not shut down, ends like a crash.
  for (Replica& r : replicas_) {
    if (!r.local && r.node->process() != nullptr) crash_replica(r, CrashKind::process);
  }
  if (nexus_node_->process() != nullptr) crash_nexus(CrashKind::process);
  if (host_node_->process() != nullptr) {
    bury(host_.release());
    host_node_->crash(CrashKind::process);
  }
}

void Cluster::add_replica(bool local) {
  Replica r;
  r.index = static_cast<unsigned>(replicas_.size());
  r.local = local;
  r.node = local ? nexus_node_ : &world_.add_node(fmt::format("replica{}", r.index));
  r.uuid = Uuid::from_name(fmt::format("replica {}", r.index)).to_string();
  r.disk_path = fmt::format("/dev/disk{}", r.index);
  DiskOptions disk = swarm_.disk;
  disk.size_bytes = nexus::data_offset_bytes + swarm_.volume_bytes + 128 * KiB;
  if (swarm_.pools) disk.size_bytes = (2 + swarm_.snapshots) * disk.size_bytes + 16 * MiB;
  r.node->add_disk(r.disk_path, disk);
  if (local) {
    r.uri = fmt::format("aio://{}?blk_size={}&uuid={}", r.disk_path, swarm_.block_bytes, r.uuid);
  } else {
    r.uri = fmt::format("nvmf://{}:{}/{}?uuid={}", r.node->ipv4(), nvmf_port, replica_nqn(r), r.uuid);
  }
  replicas_.push_back(std::move(r));
}

const nexus::Record* Cluster::record() const { return store_.find(volume_key()); }

bool Cluster::recorded_healthy(const Replica& r) const {
  const nexus::Record* now = record();
  const nexus::ChildRecord* child = now == nullptr ? nullptr : now->find(r.uuid);
  return child != nullptr && child->healthy;
}

unsigned Cluster::recorded_healthy_count() const {
  return static_cast<unsigned>(std::count_if(replicas_.begin(), replicas_.end(),
                                             [&](const Replica& r) { return recorded_healthy(r); }));
}

bool Cluster::set_up() {
  for (Replica& r : replicas_) {
    if (!r.local) start_replica(r);
  }
  const auto replicas_up = [&] {
    return std::all_of(replicas_.begin(), replicas_.end(),
                       [](const Replica& r) { return r.local || r.engine->up(); });
  };
  if (!world_.run_until(replicas_up, world_.now() + 60s)) {
    fail("the replicas did not start");
    return false;
  }
  start_nexus();
  if (!world_.run_until([&] { return nexus_->up(); }, world_.now() + 60s)) {
    fail("the nexus was not created");
    return false;
  }
  start_host();
  if (!world_.run_until([&] { return host_->up(); }, world_.now() + 60s)) {
    fail("the host did not get the volume");
    return false;
  }
  history_ = std::make_unique<BlockHistory>(host_->geometry().block_count);
  note(fmt::format("the volume has {} blocks", host_->geometry().block_count));
  return true;
}

void Cluster::start_replica(Replica& r) {
  if (r.node->process() != nullptr) return;
  note(r.node->name() + " starts");
  Process& p = r.node->start(swarm_.replica_cores, buffer_budget_bytes);
  r.engine = std::make_unique<ReplicaEngine>(*this, r, p);
  world_.spawn(p.core(0), r.engine->start());
}

void Cluster::start_nexus() {
  if (nexus_node_->process() != nullptr) return;
  // Until there are reservations only this fences: commands of the old process may be executed as long as a
  // replica believes in its connection, at most until the keep alive time is over (NVMe-oF 1.1, section 4.2).
  const Nanos fenced_at = nexus_crashed_at_ + swarm_.child.keep_alive + 2s;
  if (world_.now() < fenced_at && world_.net().half_open(*nexus_node_)) {
    return world_.after(100ms, [this] { start_nexus(); });
  }
  note("the nexus's machine starts");
  const bool at_risk = std::any_of(replicas_.begin(), replicas_.end(),
                                   [&](const Replica& r) { return r.suspect && recorded_healthy(r); });
  if (at_risk && history_ != nullptr) {
    note("caches were lost and the nexus could not notice: unflushed writes may be gone");
    history_->lose_unflushed();
  }
  for (Replica& r : replicas_) r.suspect = false;
  Process& p = nexus_node_->start(swarm_.nexus_cores, buffer_budget_bytes);
  nexus_ = std::make_unique<NexusEngine>(*this, p);
  world_.spawn(p.core(0), nexus_->live());
}

void Cluster::start_host() {
  Process& p = host_node_->start(swarm_.host_cores, buffer_budget_bytes);
  host_ = std::make_unique<Host>(*this, p);
  world_.spawn(p.core(0), host_->start());
}

void Cluster::crash_replica(Replica& r, CrashKind kind) {
  note(fmt::format("{} {}", r.node->name(), kind == CrashKind::power ? "loses power" : "crashes"));
  bury(r.engine.release());
  r.node->crash(kind);
  if (kind == CrashKind::power) lost_cache(r);
}

void Cluster::crash_nexus(CrashKind kind) {
  note(fmt::format("the nexus {}", kind == CrashKind::power ? "loses power" : "crashes"));
  bury(nexus_.release());
  nexus_node_->crash(kind);
  nexus_crashed_at_ = world_.now();
  if (kind != CrashKind::power) return;
  for (Replica& r : replicas_) {
    if (r.local) lost_cache(r);
  }
}

void Cluster::end_nexus(Nanos away) {
  if (nexus_ == nullptr || !nexus_->up()) return;
  note("the nexus is stopped");
  struct Stop {
    static Task<void> run(Cluster& c, NexusEngine& e, Nanos time) {
      co_await e.stop();
      c.world_.after(Nanos(0), [&c, ended = &e, time] { c.nexus_ended(ended, time); });
    }
  };
  world_.spawn(nexus_->home(), Stop::run(*this, *nexus_, away));
}

void Cluster::nexus_ended(const NexusEngine* ended, Nanos away) {
  if (nexus_.get() != ended) return;  // it crashed meanwhile
  bury(nexus_.release());
  nexus_node_->crash(CrashKind::process);  // connections that a partition holds may still be half open
  nexus_crashed_at_ = world_.now();
  check_clean_end();
  world_.after(away, [this] { start_nexus(); });
}

void Cluster::heal() {
  note("everything heals");
  world_.net().set_damage(0);
  store_.set_out(false);
  for (std::size_t i = 0; i < world_.node_count(); ++i) world_.net().refuse(world_.node(i), false);
  world_.net().heal_all();
  for (Replica& r : replicas_) {
    DiskFaults faults;
    faults.failed = r.dead;
    r.node->disk(r.disk_path).faults() = faults;
    if (!r.local) start_replica(r);
  }
  start_nexus();
}

bool Cluster::whole() const {
  if (nexus_ == nullptr || !nexus_->up()) return false;
  return std::all_of(replicas_.begin(), replicas_.end(),
                     [&](const Replica& r) { return r.dead || recorded_healthy(r); });
}

bool Cluster::shut_down() {
  note("everything is shut down");
  const Nanos limit = 120s;
  const auto stop = [&](SimReactor& on, Task<void> task, const char* who) {
    bool ended = false;
    auto run = [](Task<void> t, bool* done) -> Task<void> {
      co_await t;
      *done = true;
    };
    world_.spawn(on, run(std::move(task), &ended));
    if (world_.run_until([&] { return ended; }, world_.now() + limit)) return true;
    fail(fmt::format("the shutdown of {} hangs", who));
    return false;
  };
  if (!stop(host_node_->process()->core(0), host_->stop(), "the host")) return false;
  if (!stop(nexus_->home(), nexus_->stop(), "the nexus")) return false;
  for (Replica& r : replicas_) {
    if (!r.local && !stop(r.node->process()->core(0), r.engine->stop(), "a replica")) return false;
  }
  world_.run_for(1s);
  host_.reset();
  host_node_->stop();
  nexus_.reset();
  nexus_node_->stop();
  for (Replica& r : replicas_) {
    if (r.local) continue;
    r.engine.reset();
    r.node->stop();
  }
  return true;
}

void Cluster::note(std::string_view what) {
  world_.note(hash(what));
  if (!verbose_) return;
  fmt::print("{:>14.6f} {}\n", static_cast<double>(world_.now().count()) / 1e9, what);
  std::fflush(stdout);
}

std::string_view Cluster::where() const noexcept {
  return world_.current() == nullptr ? std::string_view("world") : world_.current()->node().name();
}

void Cluster::fail(const std::string& why) {
  failures_.push_back(why);
  note("FAILED: " + why);
}

}  // namespace holdfast::sim

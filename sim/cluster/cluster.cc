#include "sim/cluster/cluster.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "sim/cluster/engines.h"
#include "sim/reactor.h"

namespace holdfast::sim {

namespace {

constexpr std::uint64_t data_offset_bytes = 5 * MiB;  // nexus/layout.h
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
  disk.size_bytes = data_offset_bytes + swarm_.volume_bytes + 128 * KiB;
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

// A record that says so promises that nothing has to be copied, and that no cache matters any more.
void Cluster::check_clean_end() {
  const nexus::Record* now = record();
  if (now == nullptr || !now->clean_shutdown || history_ == nullptr) return;
  history_->end_flush(history_->begin_flush(), true);
  if (swarm_.pools) return;
  const Replica* first = nullptr;
  for (const Replica& r : replicas_) {
    if (r.dead || r.suspect || !recorded_healthy(r)) continue;
    for (std::uint64_t block = 0; block < history_->block_count(); ++block) {
      const Value there = on_disk(r, block);
      if (history_->may_hold(block, there) && (first == nullptr || on_disk(*first, block) == there)) continue;
      return fail(fmt::format("P1: a clean end, and {} has {} in block {} ({})", r.node->name(),
                              to_string(there), block, history_->describe(block)));
    }
    if (first == nullptr) first = &r;
  }
}

void Cluster::lost_cache(Replica& r) {
  if (!recorded_healthy(r) || history_ == nullptr) return;
  r.suspect = true;
  check_suspects();
}

// Copies that lost their caches are all there is: what no flush covered may be gone, and nobody promised it.
void Cluster::check_suspects() {
  const auto sound = [&](const Replica& other) {
    if (!recorded_healthy(other) || other.suspect) return false;
    return nexus_ == nullptr || !nexus_->up() || nexus_->uses(other);
  };
  const auto lost = [&](const Replica& r) { return recorded_healthy(r) && r.suspect; };
  if (std::none_of(replicas_.begin(), replicas_.end(), lost)) return;
  if (std::any_of(replicas_.begin(), replicas_.end(), sound)) return;
  note("the only copies lost their caches: unflushed writes may be gone");
  history_->lose_unflushed();
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

Value Cluster::on_disk(const Replica& r, std::uint64_t block) const {
  if (swarm_.pools) return r.content[block];
  std::vector<std::byte> content(swarm_.block_bytes);
  r.node->disk(r.disk_path).peek(data_offset_bytes + block * swarm_.block_bytes, content);
  return read_stamp(content, block);
}

void Cluster::check_acknowledged(std::uint64_t first, std::uint64_t count, Value value) {
  if (swarm_.pools) return;  // where a block lies is the pool's affair: only the end tells
  for (const Replica& r : replicas_) {
    // After lost power the nexus needs a moment to notice; what it acknowledges from then on is checked.
    if (!recorded_healthy(r) || r.suspect || r.dead) continue;
    for (std::uint64_t block = first; block < first + count; ++block) {
      const Value there = on_disk(r, block);
      if (there == value || history_->may_hold(block, there)) continue;
      fail(fmt::format("P1: {} to block {} is acknowledged, {} is called healthy and has {} ({})",
                       to_string(value), block, r.node->name(), to_string(there), history_->describe(block)));
      return;
    }
  }
}

void Cluster::watch_record(const nexus::Record& before, const nexus::Record& now) {
  note("record: " + nexus::to_json(now));
  for (Replica& r : replicas_) {
    const nexus::ChildRecord* was = before.find(r.uuid);
    const nexus::ChildRecord* is = now.find(r.uuid);
    const bool healthy = is != nullptr && is->healthy;
    if (!healthy) r.suspect = false;
    if (healthy && history_ != nullptr && (was == nullptr || !was->healthy)) check_joined(r);
  }
  if (history_ != nullptr) check_suspects();
  const auto healthy = [](const nexus::ChildRecord& c) { return c.healthy; };
  if (std::none_of(now.children.begin(), now.children.end(), healthy)) {
    fail("the membership record calls no child healthy");
  }
}

void Cluster::check_joined(const Replica& r) {
  if (r.suspect || r.dead || swarm_.pools) return;
  for (std::uint64_t block = 0; block < history_->block_count(); ++block) {
    const Value there = on_disk(r, block);
    if (history_->may_hold(block, there)) continue;
    fail(fmt::format("P1: {} is recorded healthy and has {} in block {} ({})", r.node->name(),
                     to_string(there), block, history_->describe(block)));
    return;
  }
  for (const Replica& other : replicas_) {
    if (&other != &r && recorded_healthy(other) && !check_equal(r, other)) return;
  }
}

// What the host has no operation under way on, and knows the outcome of, is the same on both.
bool Cluster::check_equal(const Replica& joined, const Replica& other) {
  if (other.suspect || other.dead) return true;
  for (std::uint64_t block = 0; block < history_->block_count(); ++block) {
    if (!history_->quiet(block) || on_disk(joined, block) == on_disk(other, block)) continue;
    fail(fmt::format("P1: {} is recorded healthy and has {} in block {}, {} has {} ({})", joined.node->name(),
                     to_string(on_disk(joined, block)), block, other.node->name(),
                     to_string(on_disk(other, block)), history_->describe(block)));
    return false;
  }
  return true;
}

// nullopt: its engine is down, and nobody can tell.
std::optional<std::vector<bool>> Cluster::changed_since(const Replica& r, std::uint64_t epoch) const {
  const auto since = static_cast<std::uint32_t>(epoch);
  if (!swarm_.pools) return r.table.changed_since(since);
  if (r.engine == nullptr || !r.engine->up()) return std::nullopt;
  return r.engine->changed_since(since);
}

// Promise: after a crash, and for a child that is back, at most the regions are copied that were touched since the
// seal that both agree on.
void Cluster::expect_copies(const nexus::Record& before, const nexus::NexusView& view) {
  copy_bytes_max_.clear();
  const std::uint64_t region_bytes = swarm_.pools ? MiB : EpochTable::region_bytes;
  const auto replica_of = [&](const nexus::ChildView& c) {
    return std::find_if(replicas_.begin(), replicas_.end(), [&](const Replica& r) { return r.uri == c.uri; });
  };
  for (const nexus::ChildView& c : view.children) {
    const auto at = replica_of(c);
    const nexus::ChildRecord* known = before.find(at->uuid);
    if (!c.rebuild || at->local || known == nullptr) continue;
    const std::uint64_t since = known->healthy ? view.sealed_epoch : known->in_sync_through;
    if (!known->healthy && since == 0) continue;  // nothing was ever sealed with it
    auto touched = changed_since(*at, since);
    bool has_source = false;
    for (const nexus::ChildView& other : view.children) {
      const auto source = replica_of(other);
      if (source->local || other.state != nexus::ChildState::online || !touched) continue;
      const auto there = changed_since(*source, since);
      has_source = there.has_value();
      for (std::size_t i = 0; there && i < touched->size(); ++i) (*touched)[i] = (*touched)[i] || (*there)[i];
    }
    if (!has_source) continue;
    const auto regions = static_cast<std::uint64_t>(std::count(touched->begin(), touched->end(), true));
    copy_bytes_max_[c.uri] = regions * region_bytes;
    if (!c.rebuild->is_partial) fail(fmt::format("{} is copied in full", at->node->name()));
  }
}

std::string Cluster::unsealed() const {
  if (nexus_ == nullptr || !nexus_->up()) return "all: the nexus is down";
  const std::uint64_t last = nexus_->volume()->view().sealed_epoch;
  std::string text;
  for (const Replica& r : replicas_) {
    if (r.dead || r.local || !recorded_healthy(r)) continue;
    const auto changed = changed_since(r, last);
    const auto regions = changed ? std::count(changed->begin(), changed->end(), true) : -1;
    if (regions != 0) text += fmt::format("{} regions on {} since epoch {}; ", regions, r.node->name(), last);
  }
  return text;
}

void Cluster::check_snapshots() {
  for (const Snapshot& s : snapshots_) {
    if (!check_snapshot(s)) return;
  }
}

bool Cluster::check_snapshot(const Snapshot& s) {
  std::vector<Value> first;
  for (const auto& [index, uuid] : s.parts) {
    Replica& r = replicas_[index];
    std::vector<Value> there;
    const bool read = world_.run(r.node->process()->core(0),
                                 r.engine->read_snapshot(uuid, data_offset_bytes, s.legal.size(), there));
    if (!read) {
      fail(fmt::format("P3: a snapshot on {} cannot be read", r.node->name()));
      return false;
    }
    for (std::size_t b = 0; b < there.size(); ++b) {
      const auto& legal = s.legal[b];
      const bool is_legal =
          std::any_of(legal.begin(), legal.end(), [&](Value v) { return v == there[b] || v == value_any; });
      if (is_legal && (first.empty() || first[b] == there[b])) continue;
      fail(fmt::format("P3: a snapshot on {} has {} in block {}{}", r.node->name(), to_string(there[b]), b,
                       is_legal ? ", another one has not" : ""));
      return false;
    }
    if (first.empty()) first = std::move(there);
  }
  return true;
}

void Cluster::check_copied(const nexus::RebuildRecord& record) {
  const auto expected = copy_bytes_max_.extract(record.child_uri);
  if (expected.empty()) return;
  const std::uint64_t copied = record.blocks_transferred * record.block_size;
  note(fmt::format("copied {} of at most {} bytes to {}", copied, expected.mapped(), record.child_uri));
  if (copied > expected.mapped()) {
    fail(fmt::format("{} bytes were copied to {}; the regions touched since the last seal have {}", copied,
                     record.child_uri, expected.mapped()));
  }
}

void Cluster::check_replicas() {
  for (Replica& r : replicas_) {
    if (!swarm_.pools || r.local) continue;
    const std::uint64_t blocks = history_->block_count();
    const bool read =
        world_.run(r.node->process()->core(0), r.engine->read_all(data_offset_bytes, blocks, r.content));
    if (!read) return fail(fmt::format("at the end {} cannot be read", r.node->name()));
  }
  for (std::uint64_t block = 0; block < history_->block_count(); ++block) {
    const Replica* first = nullptr;
    for (const Replica& r : replicas_) {
      if (r.dead || !recorded_healthy(r)) continue;
      const Value there = on_disk(r, block);
      if (!history_->may_hold(block, there)) {
        fail(fmt::format("at the end {} has {} in block {} ({})", r.node->name(), to_string(there), block,
                         history_->describe(block)));
        return;
      }
      if (first != nullptr && on_disk(*first, block) != there) {
        fail(fmt::format("at the end {} and {} differ in block {}", first->node->name(), r.node->name(),
                         block));
        return;
      }
      first = &r;
    }
  }
}

}  // namespace holdfast::sim

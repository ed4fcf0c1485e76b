#include "sim/cluster/fencing.h"

#include <memory>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "base/log.h"
#include "block/builtin.h"
#include "nexus/layout.h"
#include "nexus/membership_stores.h"
#include "nexus/nexus.h"
#include "nvmf/initiator/initiator.h"
#include "nvmf/target/target.h"
#include "sim/cluster/history.h"
#include "sim/net.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::sim {

namespace {

constexpr std::uint64_t block_bytes = 512;
constexpr std::uint64_t hot_blocks = 64;
constexpr std::uint64_t volume_bytes = 1 * MiB;
constexpr std::uint16_t port = 8420;
constexpr std::size_t buffer_budget = 16 * MiB;
// Of the old engine: a freeze, the loss of its connections by it, and a reconnect. By its own upkeep it would meet
// the conflict within 10 s.
constexpr Nanos fenced_after_max = 5s;

// A way to the one store, which the old nexus loses.
class StoreLink final : public nexus::MembershipStore {
 public:
  explicit StoreLink(nexus::MemoryStore& truth) : truth_(truth) {}
  bool cut = false;

  Task<Result<std::optional<nexus::StoredRecord>>> load(std::string key) override {
    if (cut) co_return Error(Errc::not_connected);
    co_return co_await truth_.load(std::move(key));
  }
  Task<Result<std::uint64_t>> swap(std::string key, std::uint64_t expected, nexus::Record next) override {
    if (cut) co_return Error(Errc::not_connected);
    co_return co_await truth_.swap(std::move(key), expected, std::move(next));
  }
  Task<Status> remove(std::string key) override {
    if (cut) co_return Error(Errc::not_connected);
    co_return co_await truth_.remove(std::move(key));
  }

 private:
  nexus::MemoryStore& truth_;
};

struct Options {
  Options(Prng& random, std::uint64_t seed)
      : idle(seed % 4 == 0),
        remote(static_cast<unsigned>(random.below(3))),
        local(remote == 0 || random.chance(2, 3)),
        cores(static_cast<unsigned>(random.between(1, 2))),
        crash_replica(random.chance(1, 3)),
        freeze(random.chance(1, 3)),
        stall(random.chance(1, 2)),
        cut(random.chance(1, 4)),
        type(random.chance(1, 2) ? ReservationType::exclusive_access : draw_type(random)) {}
  // Those under which nobody but the holder reads.
  static ReservationType draw_type(Prng& random) {
    return random.chance(1, 2) ? ReservationType::exclusive_access_registrants_only
                               : ReservationType::exclusive_access_all_registrants;
  }

  bool idle;  // nobody uses the old nexus from before the take-over on
  unsigned remote;
  bool local;  // one more, on the old nexus's machine: its local child
  unsigned cores;
  bool crash_replica;  // the new nexus's reservation has to survive it
  bool freeze;         // of the old engine
  bool stall;          // of a disk while the new nexus takes it
  bool cut;
  ReservationType type;
};

// One engine: what it exports, and its nexus.
struct Engine {
  Engine(Process& p, nexus::MemoryStore& truth, const std::string& name)
      : process(p),
        store(truth),
        records(p.core(0), "/reservations"),
        devices(p.cores(), &records),
        target(p.cores(), nvmf::TargetConfig()) {
    register_builtin_schemes(devices, p.cores(), name);
    nvmf::InitiatorConfig config;
    config.hostnqn = "nqn.2019-05.io.openebs:" + name;
    config.keep_alive = 2s;
    config.grace = 5s;
    config.io_timeout = 5s;
    nvmf::complete_identity(config);
    options.host_id = config.hostid;
    options.hold_timeout = 3s;
    nvmf::register_nvmf_scheme(devices, p.cores(), config);
  }
  Task<Status> export_disk(std::string path, std::string uuid, std::string nqn) {
    const std::string uri = fmt::format("aio://{}?blk_size={}&uuid={}", path, block_bytes, uuid);
    HF_CO_TRY(BlockDevice * device, co_await devices.create(uri));
    HF_CO_TRY(claim, devices.claim(*device, "the target", DeviceUse::exported));
    HF_CO_TRY(ReservationGuard * guard, co_await devices.guard(*device));
    nvmf::SubsystemConfig subsystem;
    subsystem.nqn = nqn;
    subsystem.serial = nvmf::subsystem_serial(device->identity().uuid);
    HF_CO_CHECK(co_await target.add_subsystem(subsystem));
    nvmf::NamespaceConfig space;
    space.uuid = device->identity().uuid;
    HF_CO_CHECK(co_await target.add_namespace(nqn, space, *device, guard));
    const Endpoint at{"0.0.0.0", port};
    HF_CO_CHECK(co_await target.listen(at));
    co_return Status();
  }

  Process& process;
  StoreLink store;
  FileReservationStore records;
  DeviceRegistry devices;
  DeviceClaim claim;
  nvmf::Target target;
  nexus::NexusOptions options;
  std::unique_ptr<nexus::Nexus> volume;
  std::unique_ptr<Channel> channel;
};

struct Disk {
  Node* node = nullptr;
  std::string path, uuid, nqn;
  bool local = false;
  std::unique_ptr<Engine> engine;  // of a remote one

  std::string uri_for(const Node& user) const {
    if (local && &user == node) return fmt::format("bdev://{}", path);
    return fmt::format("nvmf://{}:{}/{}?uuid={}", node->ipv4(), port, nqn, uuid);
  }
};

class TakeOver {
 public:
  TakeOver(std::uint64_t seed, bool verbose)
      : verbose_(verbose), world_(seed), random_(world_.fork_random()), options_(random_, seed) {}
  ~TakeOver();
  void run();
  RunResult result();
  std::string describe() const {
    return fmt::format("{} remote replicas, {} local, {} cores, type {}{}{}{}{}{}\n", options_.remote,
                       options_.local ? 1 : 0, options_.cores, static_cast<int>(options_.type),
                       options_.idle ? ", idle" : "", options_.crash_replica ? ", replicas crash" : "",
                       options_.freeze ? ", freeze" : "", options_.stall ? ", stall" : "",
                       options_.cut ? ", cut" : "");
  }

 private:
  void set_up();
  void start_replica(Disk& d);
  bool create(Engine& e, Node& node, std::uint64_t key);
  Task<void> make_nexus(Engine& e, std::vector<std::string> uris, std::uint64_t key);
  Task<void> host(Engine& e, bool old);
  Task<void> write(Engine& e, bool old, std::uint64_t first, std::uint64_t count);
  Task<void> read(Engine& e, bool old, std::uint64_t first, std::uint64_t count);
  void disturb();
  void stop_hosts();
  void expect_fenced();
  void acknowledged(bool old, bool after, const char* what);
  void taken();
  Task<void> read_all();
  void check_late(std::uint64_t first, std::uint64_t count, Value oldest);
  void check_disks();
  void note(const std::string& what);
  void fail(const std::string& why) {
    failures_.push_back(why);
    note("FAILED: " + why);
  }

  const bool verbose_;
  World world_;
  Prng random_;
  const Options options_;
  nexus::MemoryStore store_;
  std::vector<Disk> disks_;
  Node* old_node_ = nullptr;
  Node* new_node_ = nullptr;
  std::unique_ptr<Engine> old_, new_;
  BlockHistory history_{hot_blocks};
  std::vector<BlockHistory::Op> old_writes_;  // under way
  std::set<Value> under_way_;                 // of either side
  bool taken_ = false;                        // the new nexus is there
  bool stop_ = false;
  unsigned hosts_ = 0;
  std::uint64_t writes_ = 0, done_ = 0, failed_ = 0;
  unsigned faults_ = 0;
  std::vector<std::string> failures_;
};

void TakeOver::note(const std::string& what) {
  std::uint64_t h = 14695981039346656037u;
  for (const char c : what) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
  world_.note(h);
  if (verbose_) fmt::print("{:>14.6f} {}\n", static_cast<double>(world_.now().count()) / 1e9, what);
}

TakeOver::~TakeOver() {
  for (Disk& d : disks_) {
    if (!d.engine) continue;
    bury(d.engine.release());
    d.node->crash(CrashKind::process);
  }
  for (auto* side : {&old_, &new_}) {
    if (!*side) continue;
    bury(side->release());
    (side == &old_ ? old_node_ : new_node_)->crash(CrashKind::process);
  }
}

void TakeOver::set_up() {
  old_node_ = &world_.add_node("old");
  new_node_ = &world_.add_node("new");
  for (unsigned i = 0; i < options_.remote + (options_.local ? 1 : 0); ++i) {
    Disk d;
    d.local = i == options_.remote;
    d.node = d.local ? old_node_ : &world_.add_node(fmt::format("replica{}", i));
    d.path = fmt::format("/dev/disk{}", i);
    d.uuid = Uuid::from_name(d.path).to_string();
    d.nqn = nvmf::subsystem_nqn(fmt::format("replica{}", i));
    DiskOptions disk;
    disk.size_bytes = nexus::data_offset_bytes + volume_bytes + 128 * KiB;
    d.node->add_disk(d.path, disk);
    disks_.push_back(std::move(d));
  }
  old_ = std::make_unique<Engine>(old_node_->start(options_.cores, buffer_budget), store_, "old");
  new_ = std::make_unique<Engine>(new_node_->start(options_.cores, buffer_budget), store_, "new");
  for (Disk& d : disks_) start_replica(d);
}

void TakeOver::start_replica(Disk& d) {
  if (!d.local) {
    Process& p = d.node->start(options_.cores, buffer_budget);
    d.engine = std::make_unique<Engine>(p, store_, d.node->name());
  }
  Engine& e = d.local ? *old_ : *d.engine;
  const auto start = [](TakeOver& self, Engine& on, const Disk& disk) -> Task<void> {
    const Status s = co_await on.export_disk(disk.path, disk.uuid, disk.nqn);
    if (!s.ok()) self.fail(disk.node->name() + " does not export: " + s.error().message());
  };
  world_.spawn(e.process.core(0), start(*this, e, d));
}

Task<void> TakeOver::make_nexus(Engine& e, std::vector<std::string> uris, std::uint64_t key) {
  const bool old = &e == old_.get();
  nexus::NexusParams params;
  params.name = "volume";
  params.uuid = Uuid::from_name(old ? "old nexus" : "new nexus");
  params.size_bytes = volume_bytes;
  params.children = std::move(uris);
  params.membership_key = "volume";
  params.reservation.key = key;
  params.reservation.type = options_.type;
  params.reservation.policy = nexus::PreemptPolicy::holder;
  while (!e.channel) {
    auto made = co_await nexus::Nexus::create(e.devices, e.store, params, e.options, nullptr);
    if (!made.ok()) {
      note(std::string(old ? "old" : "new") + " is not created: " + made.error().message());
      co_await e.process.core(0).sleep(200ms);
      continue;
    }
    // This is the moment: from here on the old nexus has nothing to say.
    if (!old) taken();
    e.volume = std::move(made).value();
    Reactor& core = e.process.core(0);
    auto channel = co_await e.volume->open_channel(core);
    if (channel.ok()) e.channel = std::move(channel).value();
  }
}

bool TakeOver::create(Engine& e, Node& node, std::uint64_t key) {
  std::vector<std::string> uris;
  for (const Disk& d : disks_) uris.push_back(d.uri_for(node));
  world_.spawn(e.process.core(0), make_nexus(e, std::move(uris), key));
  if (world_.run_until([&] { return e.channel != nullptr; }, world_.now() + std::chrono::minutes(5))) {
    return true;
  }
  fail(node.name() + ": the nexus was not created");
  return false;
}

void TakeOver::taken() {
  note("the new nexus is there");
  taken_ = true;
  for (const BlockHistory::Op op : std::exchange(old_writes_, {})) history_.end_write(op, false);
}

void TakeOver::acknowledged(bool old, bool after, const char* what) {
  ++done_;
  if (old && after)
    fail(fmt::format("P2: the old nexus acknowledges a {} that began after the take-over", what));
}

Task<void> TakeOver::write(Engine& e, bool old, std::uint64_t first, std::uint64_t count) {
  const bool after = old && taken_;
  const Value value = ++writes_;
  under_way_.insert(value);
  const Value oldest = *under_way_.begin();  // older ones were over when it began
  std::vector<std::byte> bytes(count * block_bytes);
  for (std::uint64_t i = 0; i < count; ++i) {
    stamp_block(std::span(bytes).subspan(i * block_bytes, block_bytes), value, first + i);
  }
  // What the old nexus is asked to write now must never be seen.
  BlockHistory::Op op = 0;
  if (!after) op = history_.begin_write(first, count, value);
  if (old && !after) old_writes_.push_back(op);
  const IoVec vec{bytes.data(), bytes.size()};
  const Status s = co_await e.channel->write(Lba{first}, IoVecs(&vec, 1), Durable::no);
  note(fmt::format("{} write {} to {}+{}: {}", old ? "old" : "new", value, first, count,
                   s.ok() ? "ok" : s.error().message()));
  under_way_.erase(value);
  if (s.ok()) acknowledged(old, after, "write");
  if (s.ok() && old && !after && taken_) check_late(first, count, oldest);
  if (!s.ok()) ++failed_;
  const bool open = !after && (!old || std::erase(old_writes_, op) > 0);
  if (open) history_.end_write(op, s.ok());
}

// Acknowledged by the old nexus after the take-over: it was everywhere before.
void TakeOver::check_late(std::uint64_t first, std::uint64_t count, Value oldest) {
  const auto view = new_->volume->view();
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    if (view.children[i].state != nexus::ChildState::online) continue;
    for (std::uint64_t block = first; block < first + count; ++block) {
      std::vector<std::byte> content(block_bytes);
      disks_[i].node->disk(disks_[i].path).peek(nexus::data_offset_bytes + block * block_bytes, content);
      if (read_stamp(content, block) < oldest) {
        return fail(fmt::format("P2: acknowledged after the take-over, and {} has it not in block {}",
                                disks_[i].node->name(), block));
      }
    }
  }
}

Task<void> TakeOver::read(Engine& e, bool old, std::uint64_t first, std::uint64_t count) {
  const bool after = old && taken_;
  std::vector<std::byte> bytes(count * block_bytes);
  const IoVec vec{bytes.data(), bytes.size()};
  const BlockHistory::Op op = history_.begin_read(first, count);
  const Status s = co_await e.channel->read(Lba{first}, IoVecs(&vec, 1));
  if (s.ok()) acknowledged(old, after, "read");
  if (!s.ok()) ++failed_;
  // The answer to an older question of the old nexus is on its way back; it tells of before.
  if (!s.ok() || (old && taken_)) co_return history_.fail_read(op);
  std::vector<Value> values;
  for (std::uint64_t i = 0; i < count; ++i) {
    values.push_back(read_stamp(std::span(bytes).subspan(i * block_bytes, block_bytes), first + i));
  }
  const std::string wrong = history_.end_read(op, values);
  if (!wrong.empty()) fail(fmt::format("{} reads: {}", old ? "old" : "new", wrong));
}

Task<void> TakeOver::host(Engine& e, bool old) {
  ++hosts_;
  while (!stop_ && failures_.empty()) {
    const std::uint64_t first = random_.below(hot_blocks);
    const std::uint64_t count = random_.between(1, std::min<std::uint64_t>(8, hot_blocks - first));
    if (random_.chance(1, 3)) {
      co_await read(e, old, first, count);
    } else {
      co_await write(e, old, first, count);
    }
    // A host that is refused does not ask a thousand times a second.
    const bool refused = old && taken_;
    co_await e.process.core(0).sleep(Nanos(random_.below(refused ? 40'000'000 : 3'000'000)));
  }
  --hosts_;
}

// Something that goes wrong around the take-over.
void TakeOver::disturb() {
  const Nanos when(random_.below(500'000'000));
  Disk& d = disks_[random_.below(disks_.size())];
  if (options_.stall) {
    ++faults_;
    world_.after(when, [this, &d] {
      note("a disk stalls");
      d.node->disk(d.path).faults().stalled_until = world_.now() + Nanos(random_.below(3'000'000'000));
    });
  }
  if (options_.freeze) {
    ++faults_;
    world_.after(when, [this] {
      note("the old engine freezes");
      old_node_->freeze(Nanos(random_.below(3'000'000'000)));
    });
  }
  if (options_.cut) {
    ++faults_;
    world_.after(when, [this] { world_.net().cut_one(); });
  }
}

void TakeOver::stop_hosts() {
  stop_ = true;
  const auto quiet = [&] { return hosts_ == 0 || !failures_.empty(); };
  if (!world_.run_until(quiet, world_.now() + std::chrono::minutes(5))) fail("operations never ended");
  stop_ = false;
}

// Without any I/O that would meet the conflict.
void TakeOver::expect_fenced() {
  const auto fenced = [&] { return old_->volume->view().state == nexus::NexusState::faulted; };
  if (!world_.run_until(fenced, world_.now() + fenced_after_max)) {
    return fail("P2: an idle nexus did not learn that its children were taken");
  }
  note("the old nexus is fenced");
}

Task<void> TakeOver::read_all() {
  for (std::uint64_t first = 0; first < hot_blocks; first += 8) co_await read(*new_, false, first, 8);
  stop_ = true;
}

void TakeOver::check_disks() {
  const auto view = new_->volume->view();
  for (std::size_t i = 0; i < disks_.size(); ++i) {
    const Disk& d = disks_[i];
    if (view.children[i].state != nexus::ChildState::online) continue;
    for (std::uint64_t block = 0; block < hot_blocks; ++block) {
      std::vector<std::byte> content(block_bytes);
      d.node->disk(d.path).peek(nexus::data_offset_bytes + block * block_bytes, content);
      const Value there = read_stamp(content, block);
      if (history_.may_hold(block, there)) continue;
      return fail(fmt::format("P2: {} has {} in block {} ({})", d.node->name(), to_string(there), block,
                              history_.describe(block)));
    }
  }
}

void TakeOver::run() {
  set_up();
  world_.run_for(2s);
  if (!failures_.empty() || !create(*old_, *old_node_, 0x1001)) return;
  for (int slot = 0; slot < 4; ++slot) world_.spawn(old_->process.core(0), host(*old_, true));
  world_.run_for(Nanos(random_.below(300'000'000)));
  old_->store.cut = true;
  if (options_.idle) stop_hosts();
  disturb();
  world_.run_for(Nanos(random_.below(300'000'000)));
  if (!create(*new_, *new_node_, 0x1002)) return;
  for (int slot = 0; slot < 2; ++slot) world_.spawn(new_->process.core(0), host(*new_, false));
  world_.run_for(500ms);
  if (options_.idle) expect_fenced();
  if (options_.idle) world_.spawn(old_->process.core(0), host(*old_, true));
  if (options_.crash_replica) {
    for (Disk& d : disks_) {
      if (d.local || random_.chance(1, 2)) continue;
      ++faults_;
      note(d.node->name() + " crashes");
      bury(d.engine.release());
      d.node->crash(CrashKind::process);
      start_replica(d);
    }
  }
  world_.run_for(2s);
  stop_hosts();
  const auto whole = [&] {
    const auto v = new_->volume->view();
    return (v.state == nexus::NexusState::online || v.rebuilds == 0) && v.state != nexus::NexusState::faulted;
  };
  world_.run_until(whole, world_.now() + 30s);
  if (failures_.empty()) world_.spawn(new_->process.core(0), read_all());
  world_.run_until([&] { return stop_ || !failures_.empty(); }, world_.now() + std::chrono::minutes(2));
  if (failures_.empty()) check_disks();
}

RunResult TakeOver::result() {
  RunResult r;
  r.failures = failures_;
  r.trace = world_.trace();
  r.steps = world_.steps();
  r.virtual_seconds = static_cast<double>(world_.now().count()) / 1e9;
  r.operations = done_;
  r.operations_failed = failed_;
  r.faults = faults_;
  return r;
}

}  // namespace

std::string describe_fencing_seed(std::uint64_t seed) { return TakeOver(seed, false).describe(); }

RunResult run_fencing_seed(std::uint64_t seed, bool verbose) {
  log::configure(verbose ? log::Level::info : log::Level::off, log::Format::text);
  TakeOver run(seed, verbose);
  run.run();
  return run.result();
}

}  // namespace holdfast::sim

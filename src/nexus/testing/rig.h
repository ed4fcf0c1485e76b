// One simulated process with a nexus over scripted disks, and a store that can be made to fail.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "nexus/membership_stores.h"
#include "nexus/nexus.h"
#include "nexus/testing/fake_disk.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nexus::fake {

// A MemoryStore with faults.
class TestStore final : public MembershipStore {
 public:
  Errc error = Errc::ok;          // of every call, before it does anything
  bool lose_next_answer = false;  // the next swap is done and says timed_out
  bool hang = false;              // calls wait
  Nanos hang_step{1ms};           // how soon they notice that they need not any more
  unsigned swaps = 0;
  Reactor* reactor = nullptr;
  std::vector<Record> written;

  Task<Result<std::optional<StoredRecord>>> load(std::string key) override {
    if (error != Errc::ok) co_return Error(error);
    co_return co_await inner_.load(std::move(key));
  }
  Task<Result<std::uint64_t>> swap(std::string key, std::uint64_t expected, Record next) override {
    while (hang) co_await reactor->sleep(hang_step);
    if (error != Errc::ok) co_return Error(error);
    ++swaps;
    Record copy = next;
    auto done = co_await inner_.swap(std::move(key), expected, std::move(next));
    if (done.ok()) written.push_back(std::move(copy));
    if (std::exchange(lose_next_answer, false)) co_return Error(Errc::timed_out);
    co_return done;
  }
  Task<Status> remove(std::string key) override { return inner_.remove(std::move(key)); }
  // Another owner writes the record.
  Task<Status> steal(std::string key) {
    HF_CO_TRY(auto stored, co_await inner_.load(key));
    stored->record.owner = Uuid::from_name("somebody else");
    ++stored->record.epoch;
    HF_CO_TRY(const std::uint64_t revision, co_await inner_.swap(key, stored->revision, stored->record));
    stolen_revision = revision;
    co_return Status();
  }
  std::uint64_t stolen_revision = 0;

 private:
  MemoryStore inner_;
};

struct Observed final : NexusObserver {
  std::vector<std::string> events;
  void on_child_changed(const NexusView&, const ChildView& c) noexcept override {
    events.push_back(c.uri + " " + std::string(name(c.state)) + "/" + std::string(name(c.reason)));
  }
  void on_state_changed(const NexusView& v, NexusState) noexcept override {
    events.push_back("nexus " + std::string(name(v.state)));
  }
  void on_rebuild_ended(const NexusView&, const RebuildRecord& r) noexcept override {
    events.push_back("rebuild " + r.child_uri + " " + std::string(name(r.state)));
  }
};

// An operation that was started and may have ended.
struct Started {
  explicit Started(std::size_t bytes) : memory(bytes) {}
  ~Started() {
    if (result) result->ignore("the test looked at what it wanted");
  }
  std::vector<std::byte> memory;
  IoVec vec;
  std::optional<Status> result;
  bool done() const noexcept { return result.has_value(); }
  Errc code() const noexcept { return result ? result->code() : Errc::busy; }
};

class Rig {
 public:
  static constexpr std::uint64_t volume_bytes = 2 * MiB;
  static constexpr std::uint32_t block = 512;

  explicit Rig(unsigned cores = 2, std::uint64_t seed = 1) : world(seed), core_count(cores) {
    log::configure(log::Level::off, log::Format::text);
    world.add_node("host");
    start();
    options.rebuild.window_bytes = 128 * KiB;
    options.child_latency_budget = 1s;
    options.hold_timeout = 5s;
    for (const char* name : {"a", "b", "c", "d"}) add_disk(name);
  }
  ~Rig() { close(); }

  FakeDisk& add_disk(const std::string& name, std::uint64_t size_bytes = 8 * MiB,
                     std::uint32_t block_bytes = block) {
    FakeDisk& d = disks[name];
    d.name = name;
    d.uuid = Uuid::from_name(name);
    d.geometry.block_bytes = block_bytes;
    d.geometry.deallocated_reads_zero = true;
    d.bytes.assign(size_bytes, std::byte{0});
    d.geometry.block_count = size_bytes / block_bytes;
    return d;
  }
  static std::string uri(const std::string& name) { return "fake:///" + name; }

  NexusParams params(std::vector<std::string> names, std::uint64_t size = volume_bytes) const {
    NexusParams p;
    p.name = "vol";
    p.uuid = Uuid::from_name("vol");
    p.size_bytes = size;
    for (const auto& n : names) p.children.push_back(n.find(':') == std::string::npos ? uri(n) : n);
    p.membership_key = "key";
    return p;
  }
  Status create(std::vector<std::string> names, std::uint64_t size = volume_bytes) {
    auto made = run(Nexus::create(*registry, store, params(std::move(names), size), options, &observed));
    if (!made.ok()) return made.error();
    nexus = std::move(made).value();
    open_channels();
    return Status();
  }
  void open_channels() {
    for (unsigned i = 0; i < core_count; ++i) {
      auto channel = world.run(process->core(i), nexus->open_channel(process->core(i)));
      channels.push_back(std::move(channel).value());
    }
  }
  void close() {
    if (nexus == nullptr) return;
    for (unsigned i = 0; i < channels.size(); ++i) world.run(process->core(i), channels[i]->close());
    channels.clear();
    run(nexus->close());
    nexus.reset();
    run(registry->close());
  }

  void start() {
    process = &world.node(0).start(core_count, 64 << 20);
    registry = std::make_unique<DeviceRegistry>(process->cores());
    registry->add_scheme("fake", fake_scheme(disks, home()));
    registry->add_scheme("nvmffake", fake_scheme(disks, home()));
    store.reactor = &home();
  }
  // SIGKILL: nothing is recorded, nothing of it runs again. Disks and store stay; start() begins anew.
  void crash() {
    world.node(0).crash(sim::CrashKind::process);
    for (auto& c : channels) sim::bury(c.release());
    channels.clear();
    sim::bury(nexus.release());
    sim::bury(registry.release());
    for (auto& [name, disk] : disks) disk.under_way = 0;
    start();
  }

  template <class T>
  T run(Task<T> task) {
    return world.run(home(), std::move(task));
  }
  sim::SimReactor& home() { return process->core(0); }

  // Host I/O. `core` is where it comes from; contents are one byte repeated.
  Started& start_write(unsigned core, std::uint64_t first, std::uint64_t count, int fill) {
    Started& s = *started.emplace_back(std::make_unique<Started>(count * block));
    std::fill(s.memory.begin(), s.memory.end(), static_cast<std::byte>(fill));
    s.vec = {s.memory.data(), s.memory.size()};
    world.spawn(process->core(core),
                keep(channels[core]->write(Lba{first}, IoVecs(&s.vec, 1), Durable::no), s));
    return s;
  }
  Started& start_read(unsigned core, std::uint64_t first, std::uint64_t count) {
    Started& s = *started.emplace_back(std::make_unique<Started>(count * block));
    s.vec = {s.memory.data(), s.memory.size()};
    world.spawn(process->core(core), keep(channels[core]->read(Lba{first}, IoVecs(&s.vec, 1)), s));
    return s;
  }
  Started& start_flush(unsigned core) {
    Started& s = *started.emplace_back(std::make_unique<Started>(1));
    world.spawn(process->core(core), keep(channels[core]->flush(), s));
    return s;
  }
  // An operation of the API, on home.
  Started& start_operation(Task<Status> operation) {
    Started& s = *started.emplace_back(std::make_unique<Started>(1));
    world.spawn(home(), keep(std::move(operation), s));
    return s;
  }
  Errc finish(Started& s) {
    world.run_until([&] { return s.done(); }, world.now() + 1h);
    return s.code();
  }
  Errc write(unsigned core, std::uint64_t first, std::uint64_t count, int fill) {
    return finish(start_write(core, first, count, fill));
  }
  // The byte that all blocks read have, -1 when they differ, -2 on an error.
  int read(unsigned core, std::uint64_t first, std::uint64_t count) {
    Started& s = start_read(core, first, count);
    if (finish(s) != Errc::ok) return -2;
    for (const std::byte b : s.memory) {
      if (b != s.memory.front()) return -1;
    }
    return static_cast<int>(s.memory.front());
  }
  void pass(Nanos d) { world.run_for(d); }
  bool wait_for(const std::function<bool()>& what, Nanos limit = 60s) {
    return world.run_until(what, world.now() + limit);
  }

  ChildView child(const std::string& name) const {
    for (const auto& c : nexus->view().children) {
      if (c.uri == uri(name)) return c;
    }
    return ChildView();
  }
  std::string state_of(const std::string& child_name) const {
    const ChildView c = child(child_name);
    return std::string(name(c.state)) + "/" + std::string(name(c.reason));
  }
  NexusState state() const { return nexus->view().state; }
  // Healthy, and the jobs are over.
  bool all_online() const { return state() == NexusState::online && nexus->view().rebuilds == 0; }
  Record record() {
    auto stored = run(store.load("key"));
    return stored.value()->record;
  }
  bool recorded_healthy(const std::string& name) {
    const Record r = record();
    const ChildRecord* c = r.find(Uuid::from_name(name).to_string());
    return c != nullptr && c->healthy;
  }
  // The data partitions are the same, byte for byte.
  bool same(const std::string& x, const std::string& y) const {
    const auto& a = disks.at(x);
    const auto& b = disks.at(y);
    const std::size_t size = nexus->geometry().size_bytes();
    return std::equal(a.bytes.begin() + data_offset_bytes,
                      a.bytes.begin() + static_cast<std::ptrdiff_t>(data_offset_bytes + size),
                      b.bytes.begin() + data_offset_bytes);
  }

  sim::World world;
  unsigned core_count;
  sim::Process* process = nullptr;
  FakeDisks disks;
  TestStore store;
  Observed observed;
  NexusOptions options;
  std::unique_ptr<DeviceRegistry> registry;
  std::unique_ptr<Nexus> nexus;
  std::vector<std::unique_ptr<Channel>> channels;
  std::vector<std::unique_ptr<Started>> started;

 private:
  static Task<void> keep(Task<Status> task, Started& into) { into.result.emplace(co_await task); }
};

}  // namespace holdfast::nexus::fake

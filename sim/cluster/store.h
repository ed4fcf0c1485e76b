// The membership store of a simulated cluster: one truth that survives everybody, seen by each process
// through a client with latency and outages.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "nexus/membership.h"
#include "sim/reactor.h"

namespace holdfast::sim {

class SharedStore {
 public:
  explicit SharedStore(World& world) : random_(world.fork_random()) {}

  // While it is out, requests end with not_connected or timed_out; a swap may have happened.
  void set_out(bool out) noexcept { out_ = out; }
  bool out() const noexcept { return out_; }
  // nullptr when there is none.
  const nexus::Record* find(const std::string& key) const;
  // Told of every swap that happens, before the one who asked for it is.
  using Watcher = std::function<void(const nexus::Record& before, const nexus::Record& now)>;
  void watch(Watcher w) { watcher_ = std::move(w); }

 private:
  friend class StoreClient;
  Prng random_;
  bool out_ = false;
  std::map<std::string, nexus::StoredRecord> records_;
  Watcher watcher_;
};

class StoreClient final : public nexus::MembershipStore {
 public:
  StoreClient(SharedStore& store, SimReactor& home) : store_(store), home_(home) {}

  Task<Result<std::optional<nexus::StoredRecord>>> load(std::string key) override;
  Task<Result<std::uint64_t>> swap(std::string key, std::uint64_t expected_revision,
                                   nexus::Record next) override;
  Task<Status> remove(std::string key) override;

 private:
  auto travel() { return home_.sleep(Nanos(20'000 + store_.random_.below(2'000'000))); }
  Error lost() { return Error(store_.random_.chance(1, 2) ? Errc::not_connected : Errc::timed_out); }

  SharedStore& store_;
  SimReactor& home_;
};

}  // namespace holdfast::sim

// Three engines with a file-backed device each, and a nexus over them on the first.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "support/engine_process.h"

namespace holdfast::e2e {

namespace v1 = mayastor::v1;

class Cluster {
 public:
  static constexpr std::size_t replicas = 3;
  static constexpr std::uint64_t replica_bytes = 64ull << 20;
  static constexpr std::uint64_t volume_bytes = 48ull << 20;
  static constexpr std::uint64_t data_offset = 5ull << 20;  // of the volume's first byte in a replica
  static constexpr const char* uuid = "0c1b3b2e-4f52-4a58-9a3c-6d1f3a0c7e11";

  Cluster();
  bool start();
  // Opens the device of an engine that has just started, and shares it unless it is the first's.
  void open_replica(std::size_t i);
  v1::Nexus create_nexus();
  std::string publish();
  v1::Nexus nexus();
  // Polls for 30 s.
  bool wait_for_state(v1::NexusState state);
  // Asks again for 30 s while the child is still leaving.
  grpc::Status online(std::size_t i);
  std::vector<v1::RebuildHistoryRecord> history();

  testing_support::EngineProcess& engine(std::size_t i) { return *engines_[i]; }
  const std::string& child(std::size_t i) const { return children_[i]; }
  std::string file(std::size_t i) const { return scratch_.path("disk" + std::to_string(i)); }
  // Where the volume's bytes differ between two replicas' files, in bytes from its start; -1: nowhere.
  std::int64_t first_difference(std::size_t a, std::size_t b) const;
  // The membership record of the nexus, as the first engine keeps it.
  std::string record() const;
  std::string logs() const;

 private:
  testing_support::ScratchDir scratch_;
  std::array<std::unique_ptr<testing_support::EngineProcess>, replicas> engines_;
  std::array<std::string, replicas> children_;
};

}  // namespace holdfast::e2e

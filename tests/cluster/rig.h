// A cluster of real processes: an agent with its embedded store, and engines with a pool each, on loopback. What a
// test breaks is put right after it, so that the tests of one file share a cluster.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/agent_process.h"
#include "support/engine_process.h"

namespace httplib {
class Client;
}

namespace holdfast::cluster {

using Json = nlohmann::json;
using Strings = std::vector<std::string>;

inline constexpr std::uint64_t mib = 1ULL << 20;

struct Answer {
  int status = 0;
  Json body;
  std::string summary() const;  // "200", or "412 FailedPrecondition"
  std::string message() const;  // of an error
  bool ok() const { return status >= 200 && status < 300; }
};

// A connection to an agent. One thread.
class Rest {
 public:
  explicit Rest(const testing_support::AgentProcess& agent);
  ~Rest();
  // Paths begin with "/v0" or "/v1". The status is 0 when there is no answer.
  Answer get(const std::string& path) { return send("GET", path, ""); }
  Answer put(const std::string& path, const Json& body = Json()) {
    return send("PUT", path, body.is_null() ? "" : body.dump());
  }
  Answer del(const std::string& path) { return send("DELETE", path, ""); }

 private:
  Answer send(const std::string& method, const std::string& path, const std::string& body);

  std::unique_ptr<httplib::Client> http_;
};

struct Shape {
  std::size_t engines = 3;
  std::uint64_t pool_bytes = 512 * mib;
  Strings agent_flags = {};  // after those of every cluster here, so that they win
  // Where they run: on loopback, unless said.
  testing_support::Place agent_place = {};
  std::vector<testing_support::Place> engine_places = {};
};

class Rig {
 public:
  explicit Rig(Shape shape);
  ~Rig();
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  // Everything up, each engine with an empty pool. False when that fails, with what failed on standard output.
  bool start();
  // Everything as it was after start(). Failures are those of the running test.
  void clean();
  // The last test of a file leaves things as they are.
  void ends_here() { ended_ = true; }

  Answer get(const std::string& path) { return rest_->get(path); }
  Answer put(const std::string& path, const Json& body = Json()) { return rest_->put(path, body); }
  Answer del(const std::string& path) { return rest_->del(path); }

  // ---- engines, counted from 1: node-1 with pool-1, ...
  std::size_t engines() const { return engines_.size(); }
  testing_support::EngineProcess& engine(std::size_t i) { return *engines_.at(i - 1); }
  testing_support::AgentProcess& agent() { return *agent_; }
  static std::string node(std::size_t i) { return "node-" + std::to_string(i); }
  static std::string pool(std::size_t i) { return "pool-" + std::to_string(i); }
  std::string disk(const std::string& name) const { return scratch_.path(name + ".img"); }
  // A new sparse disk file: its path.
  std::string make_disk(const std::string& name) const;
  static std::size_t number_of(const std::string& node_or_pool);
  // Cleanly, so that the agent hears of it; until it is known not to be online.
  void stop(std::size_t i);
  // As a crash; until it is known not to be online.
  void kill(std::size_t i);
  // Until its node and its pools are online.
  void start_engine(std::size_t i);
  std::string node_status(std::size_t i);
  Answer create_pool(std::size_t node_number, const std::string& id, const Strings& disks);

  // ---- volumes
  static std::string new_id();
  // 32 MiB, thin, unless `more` says otherwise.
  Answer try_volume(const std::string& id, unsigned replicas, const Json& more = Json::object());
  std::string volume(unsigned replicas, const Json& more = Json::object());  // must succeed
  Json get_volume(const std::string& id);
  std::string status(const std::string& id);
  Strings pools_of(const std::string& id);     // sorted
  Strings nodes_of(const std::string& id);     // sorted
  Strings replicas_of(const std::string& id);  // sorted
  // The state of each replica's child of the target; of the replica itself when there is no target.
  std::map<std::string, std::string> children_of(const std::string& id);  // by node
  Answer try_publish(const std::string& id, std::size_t on_node = 0, const Json& more = Json::object());
  std::string publish(const std::string& id, std::size_t on_node = 0);  // must succeed: nvmf://...
  Answer unpublish(const std::string& id) { return del("/v0/volumes/" + id + "/target"); }
  std::string target_node(const std::string& id);  // empty: it has none
  std::size_t replica_count(const std::string& id) { return replicas_of(id).size(); }
  // Online, with so many replicas and each of them in sync.
  bool healthy(const std::string& id, std::size_t replicas);
  void wait_healthy(const std::string& id, std::size_t replicas);
  // Holds the rebuild of the volume's child on this node, so that it does not end. False: none runs.
  bool pause_rebuild(const std::string& id, std::size_t on_node);
  void resume_rebuild(const std::string& id, std::size_t on_node);
  std::uint64_t pool_used(std::size_t i);
  // Writes the place of a published volume with a pattern of this generation; its pattern is there.
  static void write(const std::string& uri, std::uint64_t offset, std::uint32_t generation,
                    std::size_t bytes = mib);
  static bool holds(const std::string& uri, std::uint64_t offset, std::uint32_t generation,
                    std::size_t bytes = mib);

  // Polls. When it does not come true in a long time, that is a failure of the test, which is told what was waited for.
  bool wait(const std::string& what, const std::function<bool()>& done);

 private:
  bool pools_online(std::size_t i);
  bool serves(std::size_t i);
  void restore_engines();
  void clean_nodes();
  void clean_volumes();
  void clean_pools();
  void destroy_unknown_replica(const Json& replica);
  // The child of the volume's target that is the replica on the node; empty: there is none.
  std::string child_uri(const Json& volume, std::size_t on_node);

  const Shape shape_;
  testing_support::ScratchDir scratch_;
  std::unique_ptr<testing_support::AgentProcess> agent_;
  std::vector<std::unique_ptr<testing_support::EngineProcess>> engines_;
  bool ended_ = false;
  std::unique_ptr<Rest> rest_;
};

// Tests of one file: `struct NodesTest : Scenarios<NodesTest> { static Shape shape() {...} };`
template <class File>
class Scenarios : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    rig_ = new Rig(File::shape());
    ASSERT_TRUE(rig_->start());
  }
  static void TearDownTestSuite() {
    delete rig_;
    rig_ = nullptr;
  }
  void TearDown() override { rig_->clean(); }
  static Rig& rig() { return *rig_; }

 private:
  static inline Rig* rig_ = nullptr;
};

}  // namespace holdfast::cluster

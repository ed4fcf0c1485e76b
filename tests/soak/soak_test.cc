// Goal: whatever happens to the processes of a cluster and to the links between them, no acknowledged write is lost,
// and all is well again after.
// Method: five engines and an agent with its store, each in a network namespace of its own; volumes of two and three
// replicas under verified load; faults in an order that the seed gives. At the end everything is compared: what hosts
// read, what the replicas hold, and what the agent and the engines know.
//   soak_test [--seed N] [--minutes M | --seconds S]     without them: seed 1, 10 minutes
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "cluster/rig.h"
#include "e2e/remote_disk.h"
#include "soak/load.h"
#include "soak/nemesis.h"
#include "soak/network.h"

namespace holdfast::soak {
namespace {

namespace v1 = mayastor::v1;
using cluster::Json;
using cluster::mib;
using cluster::Rig;
using cluster::Shape;
using cluster::Strings;

struct Settings {
  std::uint64_t seed = 1;
  std::chrono::seconds time{600};
};
Settings settings;

constexpr std::size_t engines = 5;
constexpr unsigned replicas_of_volume[] = {3, 2, 3, 2};
constexpr std::uint64_t data_begins = 5 * mib;  // of the volume's first byte in a replica

Shape shape(const Network& network) {
  Shape s{.engines = engines, .pool_bytes = 512 * mib};
  s.agent_flags = {"--faulted-child-wait-period", "15s", "--no-auth"};
  s.agent_place = network.place(network.agent());
  for (std::size_t i = 1; i <= engines; ++i) s.engine_places.push_back(network.place(i));
  return s;
}

class Soak : public testing::Test {
 protected:
  void SetUp() override {
    std::printf("seed %llu, %lld s\n", static_cast<unsigned long long>(settings.seed),
                static_cast<long long>(settings.time.count()));
    if (!network.lacks().empty()) std::printf("without partitions: lacks %s\n", network.lacks().c_str());
    ASSERT_TRUE(rig.start());
    for (std::size_t i = 1; i <= engines; ++i) used_at_first.push_back(rig.pool_used(i));
  }
  void TearDown() override {
    loads.clear();
    if (HasFailure()) keep_logs();
  }

  void publish_all() {
    for (const unsigned count : replicas_of_volume) {
      const std::string id = rig.volume(count);
      loads.push_back(std::make_unique<Load>(rig.publish(id), settings.seed + volumes.size()));
      volumes.push_back(id);
    }
  }
  void disturb(Nemesis& nemesis) {
    const auto ends = std::chrono::steady_clock::now() + settings.time;
    while (std::chrono::steady_clock::now() < ends && !HasFailure()) {
      nemesis.strike();
      for (std::size_t i = 0; i < loads.size(); ++i) {
        if (loads[i]->failed()) ADD_FAILURE() << volumes[i] << ": " << loads[i]->finish().wrong;
      }
    }
    std::printf("%llu strikes\n", static_cast<unsigned long long>(nemesis.strikes()));
  }
  void finish_loads() {
    for (std::size_t i = 0; i < loads.size(); ++i) {
      const LoadOutcome done = loads[i]->finish();
      EXPECT_EQ(done.wrong, "") << volumes[i];
      EXPECT_GT(done.writes, 0u);
      std::printf("%s: %llu reads, %llu writes, %llu without an answer\n", volumes[i].c_str(),
                  static_cast<unsigned long long>(done.reads), static_cast<unsigned long long>(done.writes),
                  static_cast<unsigned long long>(done.lost));
    }
  }

  // ---- the engines' own word
  std::vector<v1::Nexus> nexuses(std::size_t i) {
    v1::ListNexusResponse reply;
    const auto done = testing_support::call(rig.engine(i).nexus(), &v1::NexusRpc::Stub::ListNexus,
                                            v1::ListNexusOptions(), &reply);
    EXPECT_TRUE(done.ok()) << done.error_message();
    return {reply.nexus_list().begin(), reply.nexus_list().end()};
  }
  std::vector<v1::Replica> replicas(std::size_t i) {
    v1::ListReplicasResponse reply;
    const auto done = testing_support::call(rig.engine(i).replica(), &v1::ReplicaRpc::Stub::ListReplicas,
                                            v1::ListReplicaOptions(), &reply);
    EXPECT_TRUE(done.ok()) << done.error_message();
    return {reply.replicas().begin(), reply.replicas().end()};
  }
  bool engines_agree() {
    std::size_t found = 0;
    for (std::size_t i = 1; i <= engines; ++i) {
      for (const v1::Nexus& n : nexuses(i)) {
        if (n.state() != v1::NEXUS_ONLINE) return false;
        ++found;
      }
    }
    return found == volumes.size();
  }
  void wait_quiet(Nemesis& nemesis) {
    nemesis.wait_whole();
    rig.wait("every engine's targets to be whole", [this] { return engines_agree(); });
    nemesis.wait_whole();
  }

  // What is there is what the volumes own, and nothing else.
  bool nothing_orphaned() {
    std::set<std::string> owned;
    for (const std::string& id : volumes) {
      for (const std::string& r : rig.replicas_of(id)) owned.insert(r);
    }
    std::set<std::string> specified;
    const Json specs = rig.get("/v0/specs").body;
    for (const Json& r : specs["replicas"]) specified.insert(r["uuid"].get<std::string>());
    std::set<std::string> there;
    std::size_t targets = 0;
    for (std::size_t i = 1; i <= engines; ++i) {
      for (const v1::Replica& r : replicas(i)) there.insert(r.uuid());
      targets += nexuses(i).size();
    }
    return owned == specified && owned == there && targets == volumes.size();
  }

  // With the agent away, so that nobody else shares or publishes.
  void compare_replicas() {
    rig.agent().kill();
    std::map<std::string, std::vector<std::string>> uris;  // by volume
    for (std::size_t i = 1; i <= engines; ++i) {
      for (const v1::Replica& r : replicas(i)) uris[r.entity_id()].push_back(share(i, r.uuid()));
    }
    EXPECT_EQ(uris.size(), volumes.size());
    for (const auto& [id, all] : uris) {
      for (std::size_t i = 1; i < all.size(); ++i) expect_equal(id, all[0], all[i]);
    }
    ASSERT_TRUE(rig.agent().start());
    rig.wait("the agent to lead", [this] { return rig.get("/readyz").ok(); });
  }
  std::string share(std::size_t i, const std::string& uuid) {
    auto& stub = rig.engine(i).replica();
    v1::UnshareReplicaRequest before;
    before.set_uuid(uuid);
    v1::Replica reply;
    (void)testing_support::call(stub, &v1::ReplicaRpc::Stub::UnshareReplica, before, &reply);
    v1::ShareReplicaRequest request;
    request.set_uuid(uuid);
    request.set_share(v1::NVMF);
    const auto done = testing_support::call(stub, &v1::ReplicaRpc::Stub::ShareReplica, request, &reply);
    EXPECT_TRUE(done.ok()) << done.error_message();
    return reply.uri();
  }
  static void expect_equal(const std::string& id, const std::string& a, const std::string& b) {
    e2e::RemoteDisk one(a);
    e2e::RemoteDisk other(b);
    const Status one_opened = one.opened();
    const Status other_opened = other.opened();
    ASSERT_TRUE(one_opened.ok() && other_opened.ok()) << a << " " << b;
    EXPECT_EQ(one.size_bytes(), other.size_bytes());
    std::size_t different = 0;
    std::uint64_t first = 0;
    for (std::uint64_t at = data_begins; at + mib <= one.size_bytes(); at += mib) {
      const auto left = one.read(at, mib);
      const auto right = other.read(at, mib);
      ASSERT_TRUE(left.ok() && right.ok()) << a << " " << b << " at " << at;
      if (left.value() == right.value()) continue;
      if (different++ == 0) first = at;
    }
    EXPECT_EQ(different, 0u) << "MiB of volume " << id << " differ, the first at " << first - data_begins
                             << ": " << a << " " << b;
  }

  void delete_all() {
    for (const std::string& id : volumes) {
      // An agent that was killed leads again only when its lease has run out.
      rig.wait("volume " + id + " to be deleted", [&] { return rig.del("/v0/volumes/" + id).status == 404; });
    }
    volumes.clear();
    ASSERT_TRUE(rig.wait("everything to be gone", [this] { return nothing_orphaned(); }));
    for (std::size_t i = 1; i <= engines; ++i) {
      rig.wait("the pools to be empty", [&] { return rig.pool_used(i) == used_at_first[i - 1]; });
    }
  }
  void keep_logs() {
    const auto dir = std::filesystem::temp_directory_path() / ("soak-" + std::to_string(settings.seed));
    std::filesystem::create_directories(dir);
    std::ofstream(dir / "agent.log") << rig.agent().log();
    for (std::size_t i = 1; i <= engines; ++i) {
      std::ofstream(dir / (Rig::node(i) + ".log")) << rig.engine(i).log();
    }
    std::printf("the logs of the agent and of the engines are in %s\n", dir.c_str());
  }

  Network network{engines};
  Rig rig{shape(network)};
  Strings volumes;
  std::vector<std::unique_ptr<Load>> loads;
  std::vector<std::uint64_t> used_at_first;
};

TEST_F(Soak, NothingAcknowledgedIsLost) {
  publish_all();
  Nemesis nemesis(rig, network, volumes, settings.seed);
  disturb(nemesis);
  ASSERT_FALSE(HasFailure());
  wait_quiet(nemesis);
  ASSERT_FALSE(HasFailure());
  finish_loads();
  rig.wait("nothing to be there that no volume owns", [this] { return nothing_orphaned(); });
  for (const std::string& id : volumes) EXPECT_TRUE(rig.unpublish(id).ok());
  compare_replicas();
  delete_all();
  nemesis.check_alive();
}

}  // namespace

// False: there is something that it does not know.
bool parse(int count, char** words) {
  for (int i = 1; i < count; i += 2) {
    if (i + 1 >= count) return false;
    const std::string name = words[i];
    const std::uint64_t value = std::strtoull(words[i + 1], nullptr, 10);
    if (name == "--seed") {
      settings.seed = value;
    } else if (name == "--minutes") {
      settings.time = std::chrono::minutes(value);
    } else if (name == "--seconds") {
      settings.time = std::chrono::seconds(value);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace holdfast::soak

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!holdfast::soak::parse(argc, argv)) {
    std::fprintf(stderr, "usage: soak_test [--seed N] [--minutes M | --seconds S]\n");
    return 2;
  }
  return RUN_ALL_TESTS();
}

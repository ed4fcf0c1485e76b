// Goal: whatever happens to the processes of a cluster and to the links between them, no acknowledged write is lost,
// and all is well again after.
// Method: five engines and an agent with its store, each in a network namespace of its own; volumes of two and three
// replicas under verified load; a user who asks for snapshots, sizes, moves and more; faults; both in an order that the
// seed gives. At the end everything is compared: what hosts read, what snapshots and replicas hold, and what the user,
// the agent and the engines know.
//   soak_test [--seed N] [--minutes M | --seconds S]     without them: seed 1, 10 minutes
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/log.h"
#include "cluster/rig.h"
#include "e2e/remote_disk.h"
#include "soak/nemesis.h"
#include "soak/user.h"
#include "support/network.h"

namespace holdfast::soak {
namespace {

namespace v1 = mayastor::v1;
using cluster::Json;
using cluster::mib;
using cluster::Rig;
using cluster::Shape;
using cluster::Strings;
using testing_support::Network;

struct Settings {
  std::uint64_t seed = 1;
  std::chrono::seconds time{600};
};
Settings settings;

constexpr std::size_t engines = 5;
constexpr unsigned replicas_of_volume[] = {3, 2, 3, 2};
constexpr std::uint64_t bytes_of_volume = 32 * mib;
constexpr std::chrono::milliseconds pace(10);   // leaves room for those who repair
constexpr std::uint64_t data_begins = 5 * mib;  // of the volume's first byte in a replica

Shape shape(const Network& network) {
  Shape s{.engines = engines, .pool_bytes = 1024 * mib};
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
    user.reset();
    subjects.clear();
    if (HasFailure()) keep_logs();
  }

  void publish_all() {
    for (const unsigned count : replicas_of_volume) {
      const std::string id = rig.volume(count, {{"size", bytes_of_volume}});
      const e2e::VerifiedLoad::Options options{.seed = settings.seed + subjects.size(), .pace = pace};
      Subject s{.id = id,
                .load = std::make_unique<e2e::VerifiedLoad>(everywhere(rig.publish(id)), options),
                .size = bytes_of_volume,
                .size_asked = bytes_of_volume,
                .replicas = {count}};
      volumes.push_back(s.id);
      subjects.push_back(std::move(s));
    }
  }
  // The target may move to any node.
  std::string everywhere(std::string uri) {
    std::string more;
    for (std::size_t i = 1; i <= engines; ++i) {
      const std::string at = network.place(i).address + ":" + std::to_string(rig.engine(i).nvmf_port());
      if (uri.find(at + "/") == std::string::npos) more += (more.empty() ? "" : ",") + at;
    }
    return uri + (uri.find('?') == std::string::npos ? "?" : "&") + "paths=" + more;
  }
  void disturb(Nemesis& nemesis) {
    const auto ends = std::chrono::steady_clock::now() + settings.time;
    while (std::chrono::steady_clock::now() < ends && !HasFailure()) {
      nemesis.strike();
      for (const Subject& s : subjects) {
        if (s.load->failed()) ADD_FAILURE() << s.id << ": " << s.load->finish().wrong;
      }
    }
    std::printf("%llu strikes\n", static_cast<unsigned long long>(nemesis.strikes()));
  }
  void finish_loads() {
    for (const Subject& s : subjects) {
      const e2e::LoadOutcome done = s.load->finish();
      EXPECT_EQ(done.wrong, "") << s.id;
      EXPECT_GT(done.writes, 0u);
      std::printf("%s: %llu reads, %llu writes, %llu without an answer\n", s.id.c_str(),
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
    v1::ListReplicaOptions wanted;  // snapshots are asked for by themselves
    wanted.mutable_query()->set_replica(true);
    wanted.mutable_query()->set_clone(true);
    v1::ListReplicasResponse reply;
    const auto done =
        testing_support::call(rig.engine(i).replica(), &v1::ReplicaRpc::Stub::ListReplicas, wanted, &reply);
    EXPECT_TRUE(done.ok()) << done.error_message();
    return {reply.replicas().begin(), reply.replicas().end()};
  }
  std::size_t snapshots(std::size_t i) {
    v1::ListSnapshotsResponse reply;
    const auto done = testing_support::call(rig.engine(i).snapshot(), &v1::SnapshotRpc::Stub::ListSnapshot,
                                            v1::ListSnapshotsRequest(), &reply);
    EXPECT_TRUE(done.ok()) << done.error_message();
    return static_cast<std::size_t>(reply.snapshots_size());
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

  // What is there is what the volumes own, and nothing else. No snapshot is left.
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
    std::size_t left = 0;
    for (std::size_t i = 1; i <= engines; ++i) {
      for (const v1::Replica& r : replicas(i)) there.insert(r.uuid());
      targets += nexuses(i).size();
      left += snapshots(i);
    }
    return left == 0 && owned == specified && owned == there && targets == volumes.size();
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
    // One that grew before the volume was refused to stays as it is.
    const std::uint64_t end = std::min(one.size_bytes(), other.size_bytes());
    std::size_t different = 0;
    std::uint64_t first = 0;
    for (std::uint64_t at = data_begins; at + mib <= end; at += mib) {
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
  std::vector<Subject> subjects;
  std::unique_ptr<User> user;
  std::vector<std::uint64_t> used_at_first;
};

TEST_F(Soak, NothingAcknowledgedIsLost) {
  publish_all();
  user = std::make_unique<User>(rig, subjects, settings.seed);
  Nemesis nemesis(rig, network, volumes, user.get(), settings.seed);
  disturb(nemesis);
  ASSERT_FALSE(HasFailure());
  user->finish();
  nemesis.forget_user();
  tell("the user has ended");
  user->clear_up();
  wait_quiet(nemesis);
  ASSERT_FALSE(HasFailure());
  finish_loads();
  user->check();
  user->delete_snapshots();
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
  // The hosts' connections come and go all the time.
  holdfast::log::configure(holdfast::log::Level::error, holdfast::log::Format::text);
  return RUN_ALL_TESTS();
}

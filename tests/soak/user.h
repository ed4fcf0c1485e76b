// A user who goes on asking things of a cluster that is struck: snapshots, volumes made of them, sizes, numbers of
// replicas, moves, cordons and drains, and one more volume that comes and goes. Answers may be lost, and requests be
// refused; what was acknowledged has to be true in the end.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/prng.h"
#include "cluster/rig.h"
#include "e2e/verified_load.h"

namespace holdfast::soak {

// On standard output, with the time since the first call.
void tell(const std::string& what);

// A published volume under load, and what is known of it.
struct Subject {
  std::string id;
  std::unique_ptr<e2e::VerifiedLoad> load{};
  std::uint64_t size = 0;         // acknowledged
  std::uint64_t size_asked = 0;   // not smaller
  std::set<unsigned> replicas{};  // one of these; one alone was acknowledged
};

class User {
 public:
  // In a thread of its own, from when it is made until finish().
  User(cluster::Rig& rig, std::vector<Subject>& subjects, std::uint64_t seed);
  ~User();
  User(const User&) = delete;
  User& operator=(const User&) = delete;

  // Returns when the request that runs has an answer; then there is none until resume().
  void hold();
  void resume();
  void finish();

  // ---- after finish(), when nothing is struck any more
  // Ends what is half done: no node is cordoned, and only the subjects and their snapshots are left.
  void clear_up();
  // Sizes, numbers of replicas and snapshots are as they were acknowledged, and snapshots hold what they held.
  void check();
  void delete_snapshots();

 private:
  enum class Known { maybe, yes, no };
  struct Snapshot {
    std::string id;
    std::size_t subject = 0;
    Known there = Known::maybe;
    bool given_up = false;  // asked to be deleted
    std::uint64_t size = 0;
    std::optional<e2e::Content> content;  // known when it was acknowledged
  };
  // A volume that is written and read when it is published.
  struct Guest {
    std::string id;
    e2e::Content content{16};
  };

  void run();
  void step();
  void wait_for_turn();
  // One request; what came of it is told.
  cluster::Answer ask(const char* method, const std::string& path, const cluster::Json& body = {});
  void take_snapshot(std::size_t subject);
  void delete_snapshot(std::size_t which);
  void read_snapshot(std::size_t which, unsigned replicas);
  void grow(std::size_t subject);
  void scale(std::size_t subject, unsigned replicas);
  void move(std::size_t subject, std::size_t replica);
  void cordon_or_not(std::size_t node, std::uint64_t how);
  void visit_guest(std::size_t place);
  void delete_doomed();

  // The volume's URI when it is published; empty: it could not be.
  std::string publish(const std::string& volume);
  // Empty: it is what it may be, or it cannot be read.
  std::string compare(const std::string& uri, const e2e::Content& content, bool must_answer);
  void check_snapshot(const Snapshot& snapshot);
  std::vector<std::size_t> present() const;

  cluster::Rig& rig_;
  std::vector<Subject>& subjects_;
  cluster::Rest rest_;
  Prng prng_;
  std::vector<Snapshot> snapshots_;
  std::optional<std::size_t> cordoned_;
  std::optional<Guest> guest_;
  std::vector<std::string> doomed_;  // volumes to be deleted
  std::vector<std::string> unsure_;  // volumes that were asked for, and may have come to be
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false, asks_ = false, over_ = false;
  std::thread thread_;
};

}  // namespace holdfast::soak

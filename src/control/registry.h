// Registry: the specs of the cluster, as they are in the store, and the only way to change them.
//
// A copy of all records is kept in memory, fed by a watch; so every agent can answer reads. A commit is one
// transaction: it happens as a whole, only while this agent leads (the leader's key is compared), and only if nobody
// changed what it changes (revisions are compared). A commit without an answer is tried again until it is known what
// became of it, or until the term of the leader ends.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/any_spec.h"
#include "control/creation_order.h"
#include "control/model/specs.h"
#include "control/model/state.h"
#include "control/news.h"
#include "control/plan/index.h"
#include "control/plan/records.h"
#include "rt/reactor.h"
#include "rt/stop.h"
#include "rt/wait.h"
#include "store/kv.h"

namespace holdfast::control {

// What a commit does. A spec is put as it is, or removed by its id.
class Changes {
 public:
  Changes& put(AnySpec spec);
  Changes& remove(AnySpec spec);
  // The membership record of a volume that has no target yet, and its end.
  Changes& put_membership(const Uuid& volume, const std::vector<Uuid>& replicas);
  Changes& remove_membership(const Uuid& volume);
  // Another value, if it still is what was read at this revision (Registry::read_membership).
  Changes& replace_membership(const Uuid& volume, std::string value, store::Revision read_at);
  bool empty() const noexcept { return list_.empty() && raw_.empty(); }

 private:
  friend class Registry;
  struct One {
    AnySpec spec;
    bool remove;
  };
  struct Raw {
    Uuid volume;
    std::optional<std::string> value;
    std::optional<store::Revision> expected;
  };
  std::vector<One> list_;
  std::vector<Raw> raw_;
};

// FailedPersist: what a change ends with once another agent may lead.
Error no_longer_leading();

// A membership record as it is in the store.
struct StoredMembership {
  std::string text;
  Membership membership;
  store::Revision revision = 0;
};

class Registry {
 public:
  // `memberships`, which outlives it, gets the membership records; `news`, which outlives it, too, is told of every
  // change of what is kept.
  Registry(Reactor& home, store::Kv& kv, const std::string& cluster, std::size_t page_limit,
           ById<Membership>& memberships, News& news);
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  const Specs& specs() const noexcept { return specs_; }
  const Index& index() const noexcept { return index_; }
  const RecordDigests& digests() const noexcept { return digests_; }
  // All records were read, and none of them was unreadable: what is missing in specs() is missing in the store.
  bool complete() const noexcept { return loaded_ && unreadable_.empty(); }
  const std::string& prefix() const noexcept { return prefix_; }
  std::string leader_key() const { return prefix_ + "leader"; }
  std::string membership_key(const Uuid& volume) const;
  // The value of the leader's key; nothing while nobody leads.
  const std::optional<std::string>& leader_record() const noexcept { return leader_record_; }
  // When they were created: the order of pages.
  const CreationOrder& volumes_in_order() const noexcept { return order_.volumes; }
  const CreationOrder& snapshots_in_order() const noexcept { return order_.snapshots; }
  const CreationOrder& app_nodes_in_order() const noexcept { return order_.app_nodes; }
  std::string key_of(const AnySpec& spec) const;

  // Reads everything and follows the changes until stopped.
  Task<void> follow(StopToken stop);
  // Returns when every change up to this revision is here. False when stopped.
  Task<bool> caught_up(store::Revision revision, StopToken stop);

  // The term of a leader: its key was created at this revision. Commits end when `stop` is requested.
  void begin_term(store::Revision leader_created, StopToken stop) noexcept;
  void end_term() noexcept;
  // Of the present term, or of the last one; another for each.
  std::uint64_t term() const noexcept { return term_number_; }
  // Errors: FailedPersist (the term ended, or the store is full: see Service); Aborted (somebody else changed it);
  // InvalidArgument (a record would be too long).
  // `term`: in which the specs were read that the changes stand on.
  Task<Status> commit(std::uint64_t term, Changes changes);
  // From the store, not from memory: what targets had written when this was asked. None: there is no record. Errors:
  // Unavailable (the store does not answer); Internal (it cannot be read).
  Task<Result<std::optional<StoredMembership>>> read_membership(Uuid volume);
  // Set when the term is over without its end being asked for: the leader's key is another's, or changes were missed.
  holdfast::Event& term_lost() noexcept { return lost_; }

 private:
  enum class Fate : std::uint8_t { done, again, lost, overtaken };
  struct Outcome {
    Fate fate = Fate::again;
    store::Revision revision = 0;  // done: at which
  };
  struct Known {
    store::Revision mod = 0;
    store::Revision created = 0;
  };

  Task<Status> load();
  Task<Status> load_page(store::KeyRange range, store::Revision& revision, std::string& next,
                         std::vector<store::KeyValue>& into);
  Task<Status> load_and_watch(StopToken stop);
  Task<Status> watch_changes(StopToken stop);
  void apply(const store::KeyEvent& event);
  void apply_record(const std::string& key, const std::string& value);
  void apply_removal(const std::string& key);
  void set_membership(const Uuid& volume, std::optional<Membership> record);
  Status check_sizes(const Changes& changes) const;
  store::Txn make_txn(const Changes& changes) const;
  Task<Result<Outcome>> attempt(store::Txn txn);
  void adopt(const Changes& changes, store::Revision revision);
  void forget_all();
  void know(const std::string& key, store::Revision changed, store::Revision created);
  void know_gone(const std::string& key);
  // Of this key; nullptr: its kind has none.
  CreationOrder* order_of(const std::string& kind) noexcept;
  void note_digest(const AnySpec& spec, const std::string& json);
  void drop_digest(const std::string& kind, const std::string& id);

  Reactor& home_;
  store::Kv& kv_;
  const std::string prefix_;
  const std::size_t page_limit_;
  News& news_;
  Specs specs_;
  Index index_;  // of specs_
  ById<Membership>& memberships_;
  RecordDigests digests_;
  struct {
    CreationOrder volumes, snapshots, app_nodes;
  } order_;
  std::map<std::string, Known> known_;             // of what is there
  std::map<std::string, store::Revision> gone_;    // removed here, until the watch says so, too
  std::map<std::string, std::string> unreadable_;  // key, what is wrong
  std::optional<std::string> leader_record_;
  bool loaded_ = false;
  store::Revision followed_ = 0;
  WaitQueue progress_;
  bool in_term_ = false;
  std::uint64_t term_number_ = 0;
  holdfast::Event lost_;
  store::Revision leader_created_ = 0;
  StopToken term_;
};

}  // namespace holdfast::control

// Space: which free clusters are taken, and when freed ones are free again. Home core.
//
// A cluster that is picked is held until its write is recorded or given up. Consecutive clusters of a volume are
// taken one after the other where that is possible; else the disks are used in proportion to their free space.
//
// So many free clusters are not for everybody: what thick volumes may still claim, and room for two images of the
// metadata, so that freeing works on a full pool.
//
// A record that lets go of very much (a volume of 1 TiB is a million clusters) is not carried through in one turn of
// the core: its leaves are taken apart, its clusters settled and made free a few thousand at a time.
//
// What a record let go of (effects.h) waits until the record is durable and every core has passed a grace period;
// freed clusters are then discarded on disks that can, and free. Who needs space waits for them before it hears
// out_of_space.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "pool/core_guard.h"
#include "pool/disk_set.h"
#include "pool/state.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::pool {

class Space {
 public:
  class Log {
   public:
    // Whether the maps may take the memory for one more cluster. Errors: out_of_space.
    virtual Status may_grow() noexcept = 0;
    // Makes the records that were applied until now durable: Journal::flush.
    virtual Task<Status> make_durable() = 0;
    // Nobody names these clusters any more, durably; they are about to be free.
    virtual void about_to_free(ClusterRun freed) noexcept = 0;
    // Freed clusters are free.
    virtual void space_returned() noexcept = 0;

   protected:
    ~Log() = default;
  };

  // So many clusters are given back in one turn of the core at most; one leaf (leaf.h), if that is more.
  Space(Reactor& home, State& state, DiskSet& disks, CoreGuard& guard, Log& log,
        std::size_t clusters_per_turn);
  Space(const Space&) = delete;
  Space& operator=(const Space&) = delete;
  ~Space();  // close() was awaited

  // A cluster that is held for the caller, who writes it and gives it to recorded() or give_up().
  class Pick {
   public:
    Pick() noexcept = default;
    Pick(Pick&& o) noexcept : space_(std::exchange(o.space_, nullptr)), cluster_(o.cluster_) {}
    Pick& operator=(Pick&& o) noexcept {
      if (this != &o) {
        reset();
        space_ = std::exchange(o.space_, nullptr);
        cluster_ = o.cluster_;
      }
      return *this;
    }
    ~Pick() { reset(); }
    // Not held any more: it is free, unless a record names it by now.
    void reset() noexcept;
    explicit operator bool() const noexcept { return space_ != nullptr; }
    Cluster cluster() const noexcept { return cluster_; }

   private:
    friend class Space;
    Pick(Space& space, Cluster cluster) noexcept : space_(&space), cluster_(cluster) {}
    Space* space_ = nullptr;
    Cluster cluster_{};
  };

  // A free cluster for the volume; `after`: the cluster that it would best follow. Errors: out_of_space. What was
  // reserved for a thick volume it gets whether the maps may grow or not.
  Task<Result<Pick>> pick(VolumeId volume, std::optional<Cluster> after);
  // A record that names the cluster is about to be applied: what was reserved for it is claimed, although its pick is
  // held on.
  void recorded(Cluster cluster) noexcept;
  // A free cluster out of the reserve for images. nullopt: none is left.
  std::optional<Cluster> pick_for_image();
  void free_image_cluster(Cluster cluster);
  // So many free clusters are kept for images.
  void set_image_reserve(std::uint64_t clusters) noexcept { image_reserve_ = clusters; }
  // The image whose clusters were picked is the pool's: the reserve is for the next one.
  void image_is_written() noexcept { image_taken_ = 0; }

  // Room that a record which is on its way will reserve (thick volumes), kept for it until then.
  class Promise {
   public:
    Promise() noexcept = default;
    Promise(Promise&& o) noexcept
        : space_(std::exchange(o.space_, nullptr)), clusters_(std::exchange(o.clusters_, 0)) {}
    Promise& operator=(Promise&&) = delete;
    ~Promise() {
      if (space_ != nullptr) space_->promised_ -= clusters_;
    }
    std::uint64_t clusters() const noexcept { return clusters_; }
    // Both of one space; an empty promise takes what it is given.
    void add(Promise&& more) noexcept {
      if (space_ == nullptr) space_ = more.space_;
      clusters_ += std::exchange(more.clusters_, 0);
    }

   private:
    friend class Space;
    Promise(Space& space, std::uint64_t clusters) noexcept : space_(&space), clusters_(clusters) {
      space.promised_ += clusters;
    }
    Space* space_ = nullptr;
    std::uint64_t clusters_ = 0;
  };
  // Errors: out_of_space, saying how much is missing.
  Task<Result<Promise>> promise(std::uint64_t clusters);

  // What a record that was just applied leaves behind. Leaves that it let go of (State::apply_lazily) are taken
  // apart now and, if they are many, in later turns.
  void retire(Effects&& effects);
  // Waits until what was retired so far is settled, but for freed clusters, which may still be discarded; or until
  // it cannot be, for now or for good.
  Task<void> settled();
  // Free for everybody: clusters. What is on its way back counts.
  std::uint64_t available() const noexcept;
  // Retired clusters that are not free yet.
  std::uint64_t returning() const noexcept { return returning_; }

  // Settles what is left, without waiting for the disks.
  Task<void> close();

 private:
  std::uint64_t spare(std::uint64_t free) const noexcept;
  bool may_take(VolumeId volume, std::uint64_t free) const noexcept;
  std::uint64_t thick_picks(VolumeId volume) const noexcept;
  std::optional<Cluster> choose(std::optional<Cluster> after);
  std::optional<Cluster> next_on_disk(std::uint16_t disk);
  std::optional<std::uint16_t> choose_disk();
  void add(Effects&& effects);
  // The round of return_space() that has everything which was retired.
  std::uint64_t newest_round() const noexcept { return retired_rounds_ + (retired_.empty() ? 0 : 1); }
  Task<void> take_apart();
  Task<void> return_space();
  Task<void> settle(Effects& effects);
  Task<Status> make_durable();
  Task<void> give_back(std::vector<ClusterRun> freed);
  Task<void> discard(ClusterRun run);

  Reactor& home_;
  State& state_;
  DiskSet& disks_;
  CoreGuard& guard_;
  Log& log_;
  const std::size_t clusters_per_turn_;
  std::uint64_t image_reserve_ = 0;
  std::uint64_t image_taken_ = 0;  // of the reserve, by an image that is on its way
  std::uint64_t promised_ = 0;
  std::map<Cluster, VolumeId> thick_picks_;  // in no record yet; whose reserve they are taken from
  struct DiskTurn {
    std::int64_t credit = 0;
    std::uint32_t next = 0;  // cluster where the search goes on
  };
  std::vector<DiskTurn> turns_;  // by disk
  Effects retired_;
  std::uint64_t returning_ = 0;
  std::uint64_t retired_rounds_ = 0;  // of return_space(): begun
  std::uint64_t settled_rounds_ = 0;  // ended
  bool returning_now_ = false;
  bool taking_apart_ = false;
  bool closing_ = false;
  bool stuck_ = false;  // the journal takes nothing any more: nothing comes back
  // What is retired could not be made durable, and is tried again: nobody waits for that.
  bool failing_ = false;
  StopSource stop_;
  WaitQueue changed_;  // something is settled or free
  Semaphore discarding_;
  TaskScope scope_;
};

}  // namespace holdfast::pool

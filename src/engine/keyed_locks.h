// Locks by name, for control operations: one holder a key, the others wait in order; keys do not know each
// other, so slow work on one thing never delays another. Home core only.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "rt/reactor.h"
#include "rt/task.h"
#include "rt/wait.h"

namespace holdfast::engine {

class KeyedLocks {
 public:
  // Further callers are refused: what piles up behind one stuck thing stays bounded.
  static constexpr std::size_t waiters_max = 8;

  explicit KeyedLocks(Reactor& home) noexcept : home_(home) {}
  KeyedLocks(const KeyedLocks&) = delete;
  KeyedLocks& operator=(const KeyedLocks&) = delete;
  ~KeyedLocks() { HF_ASSERT(slots_.empty()); }

  class [[nodiscard]] Lock {
   public:
    Lock() noexcept = default;
    Lock(Lock&& o) noexcept;
    Lock& operator=(Lock&& o) noexcept;
    ~Lock() { release(); }
    void release() noexcept;

    explicit operator bool() const noexcept { return locks_ != nullptr; }

   private:
    friend class KeyedLocks;
    Lock(KeyedLocks& locks, std::string key, Semaphore::Permit permit) noexcept
        : locks_(&locks), key_(std::move(key)), permit_(std::move(permit)) {}
    KeyedLocks* locks_ = nullptr;
    std::string key_;
    Semaphore::Permit permit_;
  };

  // Errors: resource_exhausted when too many wait for this key already, or it is still held at the deadline.
  Task<Result<Lock>> acquire(std::string key, Nanos deadline = no_deadline);
  // An empty Lock when somebody holds it.
  Lock try_acquire(std::string key);

 private:
  struct Slot {
    explicit Slot(Reactor& r) noexcept : mutex(r, 1) {}
    Semaphore mutex;
    std::size_t users = 0;  // the holder and the waiters
  };
  void leave(const std::string& key) noexcept;

  Reactor& home_;
  std::map<std::string, std::unique_ptr<Slot>> slots_;
};

}  // namespace holdfast::engine

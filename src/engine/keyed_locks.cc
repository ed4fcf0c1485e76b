#include "engine/keyed_locks.h"

#include <utility>

#include <fmt/format.h>

namespace holdfast::engine {

KeyedLocks::Lock::Lock(Lock&& o) noexcept
    : locks_(std::exchange(o.locks_, nullptr)), key_(std::move(o.key_)), permit_(std::move(o.permit_)) {}

KeyedLocks::Lock& KeyedLocks::Lock::operator=(Lock&& o) noexcept {
  if (this != &o) {
    release();
    locks_ = std::exchange(o.locks_, nullptr);
    key_ = std::move(o.key_);
    permit_ = std::move(o.permit_);
  }
  return *this;
}

void KeyedLocks::Lock::release() noexcept {
  if (locks_ == nullptr) return;
  permit_.release();
  std::exchange(locks_, nullptr)->leave(key_);
}

Task<Result<KeyedLocks::Lock>> KeyedLocks::acquire(std::string key, Nanos deadline) {
  auto& slot = slots_[key];
  if (slot == nullptr) slot = std::make_unique<Slot>(home_);
  if (slot->users > waiters_max) {
    co_return Error(Errc::resource_exhausted,
                    fmt::format("{} operations on '{}' are waiting already: try again when they have ended",
                                slot->users - 1, key));
  }
  Slot& mine = *slot;
  ++mine.users;
  auto permit = co_await mine.mutex.acquire(deadline);
  if (permit) co_return Lock(*this, std::move(key), std::move(permit));
  leave(key);
  co_return Error(Errc::resource_exhausted,
                  fmt::format("an operation on '{}' is under way: try again when it has ended", key));
}

KeyedLocks::Lock KeyedLocks::try_acquire(std::string key) {
  if (slots_.contains(key)) return Lock();
  auto& slot = slots_[key];
  slot = std::make_unique<Slot>(home_);
  ++slot->users;
  auto permit = slot->mutex.try_acquire();
  return Lock(*this, std::move(key), std::move(permit));
}

void KeyedLocks::leave(const std::string& key) noexcept {
  const auto it = slots_.find(key);
  HF_ASSERT(it != slots_.end());
  if (--it->second->users == 0) slots_.erase(it);
}

}  // namespace holdfast::engine

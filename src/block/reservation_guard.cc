#include "block/reservation_guard.h"

#include <utility>

#include "base/log.h"
#include "block/reservation_record.h"
#include "rt/cross_core.h"

namespace holdfast {
namespace {

class LocalClient final : public ReservationClient {
 public:
  LocalClient(ReservationGuard& guard, Uuid host) noexcept : guard_(guard), host_(host) {}
  Task<Status> register_key(RegisterRequest request) override { return guard_.register_key(host_, request); }
  Task<Status> acquire(AcquireRequest request) override { return guard_.acquire(host_, request); }
  Task<Status> release(ReleaseRequest request) override { return guard_.release(host_, request); }
  Task<Result<ReservationReport>> report() override { co_return guard_.report(); }
  const Uuid& host() const noexcept override { return host_; }
  bool can_persist() const noexcept override { return guard_.can_persist(); }

 private:
  ReservationGuard& guard_;
  const Uuid host_;
};

class GuardedChannel final : public Channel {
 public:
  GuardedChannel(std::unique_ptr<Channel> inner, ReservationSlot& slot, Uuid host) noexcept
      : inner_(std::move(inner)), slot_(slot), host_(host) {}

  Task<Status> read(Lba first, IoVecs into) override {
    HF_CO_CHECK(slot_.admit(host_, ReservedAccess::read));
    const ReservationSlot::Pass pass(slot_);
    co_return co_await inner_->read(first, into);
  }
  Task<Status> write(Lba first, IoVecs from, Durable durable) override {
    HF_CO_CHECK(slot_.admit(host_, ReservedAccess::write));
    const ReservationSlot::Pass pass(slot_);
    co_return co_await inner_->write(first, from, durable);
  }
  Task<Status> write_zeroes(BlockRange range, Unmap unmap, Durable durable) override {
    HF_CO_CHECK(slot_.admit(host_, ReservedAccess::write));
    const ReservationSlot::Pass pass(slot_);
    co_return co_await inner_->write_zeroes(range, unmap, durable);
  }
  Task<Status> deallocate(BlockRange range) override {
    HF_CO_CHECK(slot_.admit(host_, ReservedAccess::write));
    const ReservationSlot::Pass pass(slot_);
    co_return co_await inner_->deallocate(range);
  }
  Task<Status> flush() override {
    HF_CO_CHECK(slot_.admit(host_, ReservedAccess::write));
    const ReservationSlot::Pass pass(slot_);
    co_return co_await inner_->flush();
  }
  Task<Status> compare(Lba first, IoVecs with) override {
    HF_CO_CHECK(slot_.admit(host_, ReservedAccess::read));
    const ReservationSlot::Pass pass(slot_);
    co_return co_await inner_->compare(first, with);
  }
  void cancel_all() noexcept override { inner_->cancel_all(); }
  Task<void> close() override { return inner_->close(); }

 private:
  const std::unique_ptr<Channel> inner_;
  ReservationSlot& slot_;
  const Uuid host_;
};

}  // namespace

Task<void> ReservationSlot::drain() {
  const unsigned before = generation_;
  generation_ ^= 1;
  HF_ASSERT(inside_[generation_] == 0);
  while (inside_[before] > 0) (void)co_await idle_.wait();
}

ReservationGuard::ReservationGuard(const Cores& cores, Uuid device, ReservationStore* store)
    : cores_(cores), device_(device), store_(store), turn_(cores.home(), 1), drain_turn_(cores.home(), 1) {
  for (Reactor* core : cores) slots_.push_back(std::make_unique<ReservationSlot>(*core));
}

ReservationGuard::~ReservationGuard() { HF_ASSERT(turn_.free() == 1 && drain_turn_.free() == 1); }

Task<Status> ReservationGuard::load() {
  if (store_ == nullptr) co_return Status();
  auto record = co_await store_->load(device_);
  if (!record.ok()) co_return record.error();
  if (!record.value()) co_return Status();
  HF_CO_TRY(const ReservationReport saved, parse_reservation_record(device_, *record.value()));
  state_ = ReservationState(saved);
  saved_ = true;
  co_await apply();
  co_return Status();
}

Task<Status> ReservationGuard::register_key(Uuid host, RegisterRequest request) {
  if (request.persist == PersistChange::on && !can_persist()) co_return Error(Errc::invalid_argument);
  Semaphore::Permit turn = co_await turn_.acquire();
  ReservationState next = state_;
  HF_CO_TRY(auto told, next.register_key(host, request));
  co_return co_await commit(host, std::move(next), std::move(told), std::move(turn));
}

Task<Status> ReservationGuard::acquire(Uuid host, AcquireRequest request) {
  Semaphore::Permit turn = co_await turn_.acquire();
  ReservationState next = state_;
  HF_CO_TRY(auto told, next.acquire(host, request));
  co_return co_await commit(host, std::move(next), std::move(told), std::move(turn));
}

Task<Status> ReservationGuard::release(Uuid host, ReleaseRequest request) {
  Semaphore::Permit turn = co_await turn_.acquire();
  ReservationState next = state_;
  HF_CO_TRY(auto told, next.release(host, request));
  co_return co_await commit(host, std::move(next), std::move(told), std::move(turn));
}

Task<Status> ReservationGuard::set_persist(bool on) {
  if (on && !can_persist()) co_return Error(Errc::invalid_argument);
  Semaphore::Permit turn = co_await turn_.acquire();
  ReservationState next = state_;
  next.set_persist(on);
  ReservationState::Notices nobody;
  co_return co_await commit(Uuid(), std::move(next), std::move(nobody), std::move(turn));
}

Task<Status> ReservationGuard::commit(Uuid by, ReservationState next, ReservationState::Notices told,
                                      Semaphore::Permit turn) {
  const Status saved = co_await save(next);
  if (!saved.ok()) {
    HF_LOG(error, "block", "reservations cannot be saved", {"device", device_.to_string()},
           {"error", saved.error()});
    co_return Error(Errc::internal, saved.error().message());
  }
  const AccessRules before = state_.rules();
  state_ = std::move(next);
  const AccessRules now = state_.rules();
  const bool revoked = now.revoke(before);
  // Maybe by a command of which it did not see the end: it has ended when those that took rights away have.
  const bool has_rights = now.reserved() && now.allows(by, ReservedAccess::write);
  co_await apply();
  for (const auto& [host, notice] : told) {
    for (ReservationObserver* observer : observers_) observer->on_reservation_notice(host, notice);
  }
  if (!revoked && !has_rights) co_return Status();
  turn.release();  // a device that hangs keeps nobody from reading or releasing
  const Semaphore::Permit drain_turn = co_await drain_turn_.acquire();
  if (!revoked) co_return Status();
  auto there = [this](Reactor& core) -> Task<void> { return slots_[core.core()]->drain(); };
  co_await run_on_all(cores_.home(), cores_, there);
  co_return Status();
}

// Nothing is kept for a device that nobody is registered with.
Task<Status> ReservationGuard::save(const ReservationState& next) {
  if (store_ == nullptr) co_return Status();
  if (next.persists() && !next.empty()) {
    saved_ = true;
    co_return co_await store_->save(device_, to_record(device_, next.report()));
  }
  if (!saved_) co_return Status();
  HF_CO_CHECK(co_await store_->remove(device_));
  saved_ = false;
  co_return Status();
}

Task<void> ReservationGuard::apply() {
  const AccessRules rules = state_.rules();
  auto there = [&](Reactor& core) -> Task<void> {
    slots_[core.core()]->rules_ = rules;
    co_return;
  };
  co_await run_on_all(cores_.home(), cores_, there);
}

std::unique_ptr<ReservationClient> ReservationGuard::client(Uuid host) {
  return std::make_unique<LocalClient>(*this, host);
}

Task<Result<std::unique_ptr<Channel>>> open_guarded_channel(BlockDevice& device, ReservationGuard& guard,
                                                            Uuid host, Reactor& core) {
  HF_CO_TRY(std::unique_ptr<Channel> inner, co_await device.open_channel(core));
  std::unique_ptr<Channel> channel =
      std::make_unique<GuardedChannel>(std::move(inner), guard.at(core.core()), host);
  co_return channel;
}

}  // namespace holdfast

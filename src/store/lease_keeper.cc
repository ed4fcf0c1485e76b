#include "store/lease_keeper.h"

namespace holdfast::store {

Task<Status> LeaseKeeper::start(std::int64_t ttl_s) {
  const Nanos asked_at = home_.now();
  HF_CO_TRY(lease_, co_await kv_.lease_grant(ttl_s));
  valid_until_ = asked_at + std::chrono::seconds(lease_.ttl_s);
  scope_.spawn(keep());
  scope_.spawn(expire());
  co_return Status();
}

Task<void> LeaseKeeper::keep() {
  const Nanos interval = Nanos(std::chrono::seconds(lease_.ttl_s)) / 3;
  constexpr Nanos after_an_error = 200ms;
  Nanos pause = interval;
  while (!lost_) {
    const bool goes_on = co_await home_.sleep(pause, stopping_.token());
    if (!goes_on || lost_) break;
    const Nanos asked_at = home_.now();
    const auto renewed = co_await kv_.lease_keep_alive(lease_.id);
    pause = renewed.ok() ? interval : after_an_error;
    if (renewed.ok()) {
      valid_until_ = asked_at + std::chrono::seconds(renewed.value());
    } else if (renewed.code() == Errc::not_found) {
      lost_ = true;
    }
  }
  changed_.set();
}

Task<void> LeaseKeeper::expire() {
  while (!lost_ && home_.now() < valid_until_) {
    const bool goes_on = co_await home_.sleep(valid_until_ - home_.now(), stopping_.token());
    if (!goes_on) co_return;
  }
  lost_ = true;
  changed_.set();
}

Task<bool> LeaseKeeper::wait_lost(StopToken stop) {
  while (!lost_ && !stopping_.stop_requested()) {
    changed_.reset();
    const Wake woken = co_await changed_.wait(no_deadline, stop);
    if (woken == Wake::stopped) co_return false;
  }
  co_return lost_;
}

Task<void> LeaseKeeper::stop() {
  if (stopping_.stop_requested()) co_return;
  stopping_.request_stop();
  changed_.set();
  co_await scope_.join();
  if (lease_.id == no_lease || lost_) co_return;
  const Status revoked = co_await kv_.lease_revoke(lease_.id);
  revoked.ignore("it ends by itself");
}

}  // namespace holdfast::store

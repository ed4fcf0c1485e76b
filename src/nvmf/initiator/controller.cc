#include "nvmf/initiator/controller.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace holdfast::nvmf::host {
namespace {

constexpr Nanos reset_bound = 500ms;  // of each step of the controller reset that ends a broken association
constexpr Nanos shutdown_bound = 1s;  // of each step of an orderly shutdown
constexpr Nanos probe_bound = 1s;     // of one question whether the target has been restarted
constexpr Nanos probe_interval = 250ms;

}  // namespace

const char* name(ControllerState state) noexcept {
  switch (state) {
    case ControllerState::connecting:
      return "connecting";
    case ControllerState::live:
      return "live";
    case ControllerState::reconnecting:
      return "reconnecting";
    case ControllerState::closed:
      return "closed";
  }
  return "?";
}

Controller::Controller(const Cores& cores, const RemoteConfig& remote, std::size_t address,
                       ControllerOwner& owner, std::vector<std::unique_ptr<CoreIo>>& ios)
    : cores_(cores),
      home_(cores.home()),
      remote_(remote),
      address_(remote.address(address)),
      owner_(owner),
      wanted_(cores.count(), false),
      opened_(cores.count(), false),
      wake_(home_),
      doubt_wake_(home_),
      lifecycle_(home_, 1),
      publish_lock_(home_, 1),
      scope_(home_) {
  for (unsigned core = 0; core < cores.count(); ++core) {
    PathOwner& me = *this;
    paths_.push_back(
        std::make_unique<CorePath>(cores.at(core), home_, me, ios[core]->changed(), unresolved_));
    ios[core]->add_path(*paths_.back());
  }
}

Controller::~Controller() { HF_ASSERT(session_ == nullptr && scope_.running() == 0); }

Task<Status> Controller::start() {
  const Semaphore::Permit turn = co_await lifecycle_.acquire();
  lost_at_ = home_.now();
  Status up = co_await establish();
  if (!up.ok()) {
    co_await tear_down();
    co_return up;
  }
  co_await go_live();
  scope_.spawn(supervise());
  co_return Status();
}

void Controller::retry() noexcept {
  state_ = ControllerState::reconnecting;
  attempt_ = 1;
  scope_.spawn(supervise());
}

Task<Status> Controller::use_core(unsigned core) {
  const unsigned server = owner_.serving_core(core);
  wanted_[server] = true;
  if (state_ != ControllerState::live) co_return Status();  // it comes with the association
  const Semaphore::Permit turn = co_await lifecycle_.acquire();
  if (stop_.stop_requested()) co_return Error(Errc::not_connected);
  if (state_ != ControllerState::live || lost_ || opened_[server]) co_return Status();
  const Status opened = co_await open_io_queue(server);
  if (!opened.ok()) {
    const Errc code = opened.code();
    if (lost_ || code == Errc::not_connected ||
        code == Errc::timed_out) {  // the whole association is in doubt
      lost(opened.error().message());
      co_return Status();
    }
    wanted_[server] = false;
    co_return opened.error();
  }
  co_return Status();
}

Task<void> Controller::cancel() {
  stop_.request_stop();
  doubt_wake_.wake_all();
  for (unsigned core = 0; core < cores_.count(); ++core) {
    CorePath& p = *paths_[core];
    auto stop = [&p]() -> Task<void> {
      p.cancel();
      co_return;
    };
    co_await run_on(home_, cores_.at(core), stop);
  }
}

Task<void> Controller::close() {
  co_await cancel();
  co_await scope_.join();
  const Semaphore::Permit turn = co_await lifecycle_.acquire();
  if (session_ != nullptr && session_->alive() && !lost_) {
    Admin admin(session_->queue(), shutdown_bound);
    const Status down = co_await admin.shut_down(shutdown_bound);
    if (down.ok()) flowed_ = false;  // no command of ours is left to be ended
    if (!down.ok())
      HF_LOG(info, "nvmf", "no orderly shutdown", {"device", remote_.device_name()},
             {"address", address_.to_string()}, {"error", down.error()});
  }
  co_await tear_down();
  for (unsigned core = 0; core < cores_.count(); ++core) {
    CorePath& p = *paths_[core];
    auto end = [&p]() -> Task<void> { return p.close(); };
    co_await run_on(home_, cores_.at(core), end);
  }
  state_ = ControllerState::closed;
  const bool unresolved = co_await any_unresolved();
  if (unresolved) co_await outlast_fence();
}

// Until what was in flight can not be executed any more. Asks meanwhile whether another run of the target
// answers.
Task<void> Controller::outlast_fence() {
  while (home_.now() < fence_) {
    const Nanos deadline = std::min(fence_, home_.now() + probe_bound);
    if (!info_.run.is_nil() && co_await target_restarted(deadline)) co_return;
    co_await home_.sleep(std::min(probe_interval, std::max(fence_ - home_.now(), Nanos{0})));
  }
}

Task<bool> Controller::target_restarted(Nanos deadline) {
  auto opened = co_await AdminSession::open(home_, run_address_, remote_.nqn, remote_.config, nullptr,
                                            deadline, StopToken());
  if (!opened.ok()) co_return false;
  AdminSession& session = *opened.value();
  Admin admin(session.queue(), probe_bound);
  const auto info = co_await identify_controller(admin, session.cap(), remote_.config);
  const bool other = info.ok() && !info.value().run.is_nil() && info.value().run != info_.run;
  const Status down = co_await admin.shut_down(probe_bound);
  down.ignore("the association ends with its connection too");
  co_await session.close();
  co_return other;
}

// ---- losing and regaining the association

void Controller::lost(const std::string& why) noexcept {
  if (lost_ || session_ == nullptr) return;
  lost_ = true;
  if (!stop_.stop_requested())
    HF_LOG(warn, "nvmf", "connection lost", {"device", remote_.device_name()},
           {"address", address_.to_string()}, {"why", why});
  wake_.wake_all();
}

void Controller::on_path_lost(unsigned core) noexcept { lost("I/O queue of core " + std::to_string(core)); }
void Controller::on_session_lost(const Error& why) noexcept { lost(why.message()); }

Task<void> Controller::supervise() {
  while (!stop_.stop_requested()) {
    if (state_ == ControllerState::live && !lost_) {
      co_await wake_.wait(no_deadline, stop_.token());
      continue;
    }
    if (state_ == ControllerState::live) {
      state_ = ControllerState::reconnecting;
      lost_at_ = home_.now();
      // The first of a row is tried at once. A target that takes us only to lose us does not make us spin.
      if (lost_at_ - live_at_ >= remote_.config.backoff_max) attempt_ = 0;
      co_await publish();
    }
    const Semaphore::Permit turn = co_await lifecycle_.acquire();
    if (!co_await reconnect()) continue;
    HF_LOG(info, "nvmf", "connected again", {"device", remote_.device_name()},
           {"address", address_.to_string()});
    ++reconnects_;
    co_await go_live();
  }
}

// Tears the lost association down and tries until there is a new one. False: stopped.
Task<bool> Controller::reconnect() {
  co_await tear_down();
  while (!stop_.stop_requested()) {
    if (attempt_ > 0) co_await home_.sleep(next_backoff(), stop_.token());
    if (stop_.stop_requested()) break;
    ++attempt_;
    const Status up = co_await establish();
    if (up.ok()) co_return true;
    HF_LOG(info, "nvmf", "reconnect failed", {"device", remote_.device_name()},
           {"address", address_.to_string()}, {"error", up.error()});
    co_await tear_down();
    owner_.on_path_changed();
  }
  co_return false;
}

// There is an association; it may be lost again already.
Task<void> Controller::go_live() {
  co_await owner_.on_run(flowed_run_, info_);
  // Cores that came into use during the set-up. From `live` on use_core() opens their queues.
  for (unsigned core = 0; core < cores_.count() && !lost_; ++core) {
    if (!wanted_[core] || opened_[core]) continue;
    const Status opened = co_await open_io_queue(core);
    if (!opened.ok()) lost(opened.error().message());
    core = ~0u;  // from the start: others may have come meanwhile
  }
  state_ = ControllerState::live;
  live_at_ = home_.now();
  co_await publish();
  // A notice that came during the set-up was only remembered.
  if (access() == Access::none || doubt_again_) on_path_doubt();
  // What the target would have told meanwhile went with the old association.
  if (reconnects_ > 0 && info_.reservations) owner_.on_reservations_changed();
}

Access Controller::access() const noexcept {
  if (state_ != ControllerState::live || lost_ || removed_) return Access::none;
  if (ana_ == nvme::AnaState::optimized) return Access::optimized;
  return ana_ == nvme::AnaState::non_optimized ? Access::non_optimized : Access::none;
}

// Tells every core, and the device, what the path is good for now.
Task<void> Controller::publish() {
  const Semaphore::Permit turn = co_await publish_lock_.acquire();
  PathUse use;
  use.access = access();
  use.nsid = space_.nsid;
  use.transfer_bytes_max = info_.transfer_bytes_max;
  use.retry_delays = info_.retry_delays;
  if (use.access != Access::none) {
    flowed_ = true;
    flowed_run_ = info_.run;
  }
  for (unsigned core = 0; core < cores_.count(); ++core) {
    CorePath& p = *paths_[core];
    auto set = [&p, &use]() -> Task<void> {
      p.set_use(use);
      co_return;
    };
    co_await run_on(home_, cores_.at(core), set);
  }
  owner_.on_path_changed();
}

Task<bool> Controller::any_unresolved() {
  bool any = false;
  for (unsigned core = 0; core < cores_.count(); ++core) {
    CorePath& p = *paths_[core];
    auto ask = [&p]() -> Task<bool> { co_return p.unresolved(); };
    const bool one = co_await run_on(home_, cores_.at(core), ask);
    any = any || one;
  }
  co_return any;
}

// Exponential with jitter: many devices that lost the same target do not come back in step.
Nanos Controller::next_backoff() noexcept {
  const InitiatorConfig& config = remote_.config;
  constexpr std::uint32_t doublings_max = 16;
  const bool failed = owner_.io_failed() || home_.now() - lost_at_ > config.grace;
  const std::int64_t factor = std::int64_t{1}
                              << (failed ? doublings_max : std::min(attempt_ - 1, doublings_max));
  const Nanos step =
      std::min(failed ? config.backoff_failed : config.backoff_max, config.backoff_min * factor);
  const auto half = static_cast<std::uint64_t>(std::max<std::int64_t>(step.count() / 2, 1));
  return Nanos(static_cast<std::int64_t>(half + home_.random().below(half + 1)));
}

// After so much silence the target has ended the association.
Nanos Controller::keep_alive_at_target() const noexcept {
  const Nanos asked = remote_.config.keep_alive;
  const Nanos unit = info_.keep_alive_unit;
  const Nanos period = unit > Nanos{0} ? (asked + unit - Nanos{1}) / unit * unit : asked;
  // Others may restart their timer when it expires, if a command came since it began. Ours counts from the last
  // command, or response: nothing is sent any more, so only a device that stalls makes that later.
  return info_.traffic_keeps_alive && info_.run.is_nil() ? 2 * period : period;
}

// Ends the association, if there is one, and learns from when on it is dead at the target.
Task<void> Controller::tear_down() {
  bool quiet = !flowed_;
  if (session_ != nullptr) {
    if (flowed_ && session_->alive()) {
      Admin admin(session_->queue(), reset_bound);
      const Status reset = co_await admin.reset(reset_bound);
      quiet = reset.ok();
    }
    co_await session_->close();
  }
  co_await drop_queues();
  if (!quiet) fence_ = std::max(fence_, home_.now() + keep_alive_at_target());
  ++torn_down_;
  co_await tell_quiet();
  session_.reset();
  opened_.assign(opened_.size(), false);
  lost_ = flowed_ = false;
}

Task<void> Controller::tell_quiet() {
  for (unsigned core = 0; core < cores_.count(); ++core) {
    CorePath& p = *paths_[core];
    auto tell = [&p, this]() -> Task<void> {
      p.set_quiet(torn_down_, fence_);
      co_return;
    };
    co_await run_on(home_, cores_.at(core), tell);
  }
}

Task<void> Controller::drop_queues() {
  for (unsigned core = 0; core < cores_.count(); ++core) {
    CorePath& p = *paths_[core];
    auto drop = [&p]() -> Task<void> { return p.drop_queue(); };
    co_await run_on(home_, cores_.at(core), drop);
  }
}

Task<void> Controller::abort(std::uint16_t qid, std::uint16_t cid) {
  if (session_ == nullptr || !session_->alive()) co_return;
  AdminSession& session = *session_;
  const Gate::Hold hold = session.use();
  if (!hold) co_return;
  Admin admin = session.admin();
  const Status asked = co_await admin.abort(qid, cid);
  asked.ignore("the command's own end, or the loss of its queue, says how it went");
}

}  // namespace holdfast::nvmf::host

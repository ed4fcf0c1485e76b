#include "nvmf/initiator/controller.h"

#include <algorithm>
#include <cerrno>
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

const char* name(IoFlow flow) noexcept {
  switch (flow) {
    case IoFlow::waiting:
      return "waiting";
    case IoFlow::flowing:
      return "flowing";
    case IoFlow::failed:
      return "failed";
  }
  return "?";
}

Controller::Controller(const Cores& cores, RemoteConfig remote)
    : cores_(cores),
      home_(cores.home()),
      remote_(std::move(remote)),
      wanted_(cores.count(), false),
      queues_(cores.count()),
      wake_(home_),
      flow_changed_(home_),
      lifecycle_(home_, 1),
      flow_lock_(home_, 1),
      scope_(home_) {
  for (Reactor* core : cores_) {
    PathOwner& owner = *this;
    paths_.push_back(std::make_unique<CorePath>(*core, home_, owner, remote_.config));
  }
}

Controller::~Controller() { HF_ASSERT(session_ == nullptr && scope_.running() == 0); }

Task<Status> Controller::start() {
  const Semaphore::Permit turn = co_await lifecycle_.acquire();
  Status up = co_await establish();
  if (!up.ok()) {
    co_await tear_down();
    co_return up;
  }
  state_ = ControllerState::live;
  grace_end_ = home_.now() + remote_.config.grace;
  co_await push_limits();
  co_await start_flow();
  scope_.spawn(supervise());
  co_return Status();
}

Task<Status> Controller::use_core(unsigned core) {
  const Semaphore::Permit turn = co_await lifecycle_.acquire();
  if (stop_.stop_requested()) co_return Error(Errc::not_connected);
  const unsigned server = serving_core(core);
  const bool first = !wanted_[server];
  wanted_[server] = true;
  if (!first || state_ != ControllerState::live || lost_)
    co_return Status();  // it comes with the association
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
  const Semaphore::Permit flow_turn = co_await flow_lock_.acquire();
  if (flow_ == IoFlow::flowing) co_await go_live(server);
  co_return Status();
}

Task<void> Controller::close() {
  stop_.request_stop();
  for (auto& path : paths_) {
    CorePath& p = *path;
    auto cancel = [&p]() -> Task<void> {
      p.cancel();
      co_return;
    };
    co_await run_on(home_, p.reactor(), cancel);
  }
  co_await scope_.join();
  const Semaphore::Permit turn = co_await lifecycle_.acquire();
  if (session_ != nullptr && session_->alive() && !lost_) {
    Admin admin(session_->queue(), shutdown_bound);
    const Status down = co_await admin.shut_down(shutdown_bound);
    if (down.ok() && !co_await any_unresolved()) flowed_ = false;  // no command of ours is left to be ended
    if (!down.ok())
      HF_LOG(info, "nvmf", "no orderly shutdown", {"device", remote_.device_name()}, {"error", down.error()});
  }
  co_await tear_down();
  for (auto& path : paths_) {
    CorePath& p = *path;
    auto end = [&p]() -> Task<void> { return p.close(); };
    co_await run_on(home_, p.reactor(), end);
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
  HF_LOG(warn, "nvmf", "connection lost", {"device", remote_.device_name()}, {"why", why});
  wake_.wake_all();
}

void Controller::on_path_lost(unsigned core) noexcept { lost("I/O queue of core " + std::to_string(core)); }
void Controller::on_session_lost(const Error& why) noexcept { lost(why.message()); }

Task<void> Controller::supervise() {
  while (!stop_.stop_requested()) {
    if (!lost_) {
      co_await wake_.wait(no_deadline, stop_.token());
      continue;
    }
    state_ = ControllerState::reconnecting;
    co_await stop_flow();
    bool up = false;
    {
      const Semaphore::Permit turn = co_await lifecycle_.acquire();
      up = co_await reconnect();
    }
    if (!up) continue;
    // A device that failed is not offered again while a command of its past may still be executed.
    if (flow_ == IoFlow::failed) co_await wait_fence();
    if (lost_ || stop_.stop_requested()) continue;
    HF_LOG(info, "nvmf", "reconnected", {"device", remote_.device_name()});
    ++reconnects_;
    state_ = ControllerState::live;
    co_await start_flow();
  }
}

// Tears the lost association down and tries until there is a new one. False: stopped.
Task<bool> Controller::reconnect() {
  co_await tear_down();
  attempt_ = 0;
  while (!stop_.stop_requested()) {
    const Status up = co_await establish();
    if (up.ok()) co_return true;
    HF_LOG(info, "nvmf", "reconnect failed", {"device", remote_.device_name()}, {"error", up.error()});
    if (up.error().sys_errno() == ECONNREFUSED) shorten_grace();
    co_await tear_down();
    const Nanos pause = next_backoff();
    co_await home_.sleep(pause, stop_.token());
  }
  co_return false;
}

Task<bool> Controller::any_unresolved() {
  bool any = false;
  for (auto& path : paths_) {
    CorePath& p = *path;
    auto ask = [&p]() -> Task<bool> { co_return p.unresolved(); };
    const bool one = co_await run_on(home_, p.reactor(), ask);
    any = any || one;
  }
  co_return any;
}

Task<void> Controller::wait_fence() {
  const bool unresolved = co_await any_unresolved();
  while (unresolved && home_.now() < fence_ && !stop_.stop_requested() && !lost_)
    co_await wake_.wait(fence_, stop_.token());
}

// Exponential with jitter: many devices that lost the same target do not come back in step.
Nanos Controller::next_backoff() noexcept {
  const InitiatorConfig& config = remote_.config;
  constexpr std::uint32_t doublings_max = 16;
  const bool failed = flow_ == IoFlow::failed;
  const std::int64_t factor = std::int64_t{1} << (failed ? doublings_max : std::min(attempt_, doublings_max));
  const Nanos step =
      std::min(failed ? config.backoff_failed : config.backoff_max, config.backoff_min * factor);
  ++attempt_;
  const auto half = static_cast<std::uint64_t>(std::max<std::int64_t>(step.count() / 2, 1));
  return Nanos(static_cast<std::int64_t>(half + home_.random().below(half + 1)));
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
  if (!quiet) fence_ = std::max(fence_, home_.now() + remote_.config.keep_alive);
  session_.reset();
  lost_ = flowed_ = false;
}

Task<void> Controller::drop_queues() {
  for (auto& path : paths_) {
    CorePath& p = *path;
    auto drop = [&p]() -> Task<void> { return p.drop_queue(); };
    co_await run_on(home_, p.reactor(), drop);
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

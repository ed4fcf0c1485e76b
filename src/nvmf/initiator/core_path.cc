#include "nvmf/initiator/core_path.h"

#include <utility>

#include "nvme/errc_status.h"
#include "nvme/status.h"
#include "nvmf/initiator/session.h"
#include "rt/cross_core.h"

namespace holdfast::nvmf::host {
namespace {

constexpr Nanos path_retry_interval = 100ms;

// The command did not happen because of the path, not because of itself.
bool is_path_trouble(const nvme::CommandStatus& status) noexcept {
  return nvme::to_errc(status) == Errc::not_connected;
}

// The controller said so before it looked at the command; otherwise it may have been executed in part.
bool never_executed(const nvme::CommandStatus& status) noexcept {
  return status.code == nvme::StatusCode::ana_inaccessible ||
         status.code == nvme::StatusCode::ana_transition ||
         status.code == nvme::StatusCode::ana_persistent_loss;
}

}  // namespace

CorePath::CorePath(Reactor& core, Reactor& home, PathOwner& owner, const InitiatorConfig& config)
    : core_(core),
      home_(home),
      owner_(owner),
      config_(config),
      changed_(core),
      scope_(core),
      lost_(home, owner, core.core(), true),
      doubt_(home, owner, core.core(), false) {}

Task<Status> CorePath::open_queue(IoQueueArgs args) {
  HF_ASSERT(queue_ == nullptr);
  const Nanos deadline = core_.now() + args.timeout;
  qid_ = args.connect.qid;
  connected_ = false;
  HF_CO_TRY(queue_, co_await Queue::open(core_, std::move(args.queue), *this, deadline, stop_.token()));
  queue_->set_in_capsule_bytes(args.in_capsule_bytes);
  std::optional<Error> failure;
  {
    const Watchdog watchdog(*queue_, deadline, stop_.token());
    const auto connected = co_await fabrics_connect(*queue_, std::move(args.connect), args.timeout);
    if (!connected.ok()) {
      failure = connected.error();
    } else if (!queue_->alive()) {
      failure = queue_->why();
    }
  }
  connected_ = !failure;
  if (connected_) co_return Status();
  co_await drop_queue();
  co_return *failure;
}

void CorePath::go_live(const PathLimits& limits, Nanos fence) noexcept {
  limits_ = limits;
  fence_ = fence;
  if (core_.now() >= fence) unresolved_ = false;
  if (queue_ == nullptr || !queue_->alive()) {  // not in use; or lost again, and the notice is on its way
    state_ = State::waiting;
    return;
  }
  state_ = State::live;
  changed_.wake_all();
}

Task<void> CorePath::drop_queue() {
  if (state_ == State::live) state_ = State::waiting;
  connected_ = false;
  if (queue_ == nullptr) co_return;
  co_await queue_->close();
  queue_.reset();
  // Home is to take it for this queue's end, not for the next one's.
  while (lost_.under_way()) co_await core_.yield();
}

void CorePath::fail_io() noexcept {
  state_ = State::failed;
  changed_.wake_all();
}

Task<void> CorePath::close() {
  cancel();
  fail_io();
  co_await drop_queue();
  co_await scope_.join();
  while (doubt_.under_way()) co_await core_.yield();
}

void CorePath::on_queue_dead(Queue&, const Error&) noexcept {
  if (state_ == State::live) state_ = State::waiting;
  if (connected_) lost_.post();  // else open_queue() says so
}

void CorePath::on_command_late(Queue&, Command& command) noexcept { scope_.spawn(ask_abort(command.cid)); }

Task<void> CorePath::ask_abort(std::uint16_t cid) {
  const std::uint16_t qid = qid_;
  auto there = [this, qid, cid]() -> Task<void> { return owner_.abort(qid, cid); };
  co_await run_on(core_, home_, there);
}

void CorePath::give_up_users() noexcept {
  if (queue_ != nullptr) queue_->fail(Error(Errc::cancelled, "given up by its user"));
  changed_.wake_all();
}

Task<Status> CorePath::until_live(const bool& cancelled) {
  while (state_ == State::waiting && !cancelled) co_await changed_.wait();
  if (state_ != State::live || cancelled) co_return Error(Errc::not_connected);
  co_return Status();
}

Task<void> CorePath::pause_for(Nanos duration, const bool& cancelled) {
  const Nanos end = core_.now() + duration;
  while (core_.now() < end && !cancelled) co_await changed_.wait(end);
}

// The end of a command some try of which may still be executed at the target: see the top of core_path.h.
Task<Status> CorePath::settle(Status outcome, bool uncertain, const bool& cancelled) {
  if (!uncertain) co_return outcome;
  if (outcome.ok() && core_.now() < fence_) co_await pause_for(fence_ - core_.now(), cancelled);
  if (!outcome.ok() || core_.now() < fence_) unresolved_ = true;
  if (outcome.ok() && core_.now() < fence_) co_return Error(Errc::not_connected);
  co_return outcome;
}

Task<Status> CorePath::execute(Command& command, bool modifies, const bool& cancelled) {
  const Nanos give_up = core_.now() + config_.grace + config_.io_timeout;
  bool uncertain = false;
  for (;;) {
    if (state_ != State::live || cancelled) {
      Status live = co_await until_live(cancelled);
      if (!live.ok()) co_return co_await settle(std::move(live), uncertain, cancelled);
    }
    command.sqe.nsid = limits_.nsid;
    command.timeout = config_.io_timeout;
    co_await queue_->issue(command);
    if (command.end == CommandEnd::completed) {
      const auto status = nvme::CommandStatus::unpack(command.cqe.status);
      const Errc code = nvme::to_errc(status);
      if (code == Errc::ok && !uncertain) [[likely]]
        co_return Status();
      if (code == Errc::ok) co_return co_await settle(Status(), true, cancelled);
      if (command.late) co_return co_await settle(Error(Errc::timed_out), uncertain, cancelled);
      if (!is_path_trouble(status)) co_return co_await settle(Error(code), uncertain, cancelled);
      uncertain = uncertain || (modifies && !never_executed(status));
      doubt_.post();
      if (core_.now() + path_retry_interval >= give_up || config_.grace == Nanos{0})
        co_return co_await settle(Error(code), uncertain, cancelled);
      co_await pause_for(path_retry_interval, cancelled);
      continue;
    }
    uncertain = uncertain || (modifies && command.sent);
    if (command.end == CommandEnd::timed_out)
      co_return co_await settle(Error(Errc::timed_out), uncertain, cancelled);
    if (core_.now() >= give_up) co_return co_await settle(Error(Errc::not_connected), uncertain, cancelled);
  }
}

}  // namespace holdfast::nvmf::host

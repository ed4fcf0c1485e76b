#include "nvmf/initiator/core_io.h"

#include <algorithm>
#include <utility>

#include "nvme/errc_status.h"
#include "nvme/status.h"

namespace holdfast::nvmf::host {
namespace {

constexpr Nanos retry_interval = 100ms;  // on the path that just said no, when it named no delay

// The command did not happen because of the path, not because of itself.
bool is_path_trouble(const nvme::CommandStatus& status) noexcept {
  return nvme::to_errc(status) == Errc::not_connected;
}

// Whoever sends this ends the association: the command may still be executed.
bool ends_association(const nvme::CommandStatus& status) noexcept {
  return status.code == nvme::StatusCode::aborted_sq_deletion ||
         status.code == nvme::StatusCode::aborted_power_loss ||
         status.code == nvme::StatusCode::keep_alive_timer_expired;
}

// Says that it will pass, and when.
bool is_delayed(const nvme::CommandStatus& status) noexcept {
  return status.crd != 0 && (status.code == nvme::StatusCode::command_interrupted ||
                             status.code == nvme::StatusCode::namespace_not_ready);
}

// A controller that lost its group for good says "do not retry" and means: here.
bool may_retry(const nvme::CommandStatus& status) noexcept {
  return !status.dnr || status.code == nvme::StatusCode::ana_persistent_loss;
}

}  // namespace

struct CoreIo::Rescue {
  Rescue(Command& c, bool m, const bool& gone, Try t, Nanos limit) noexcept
      : command(c), modifies(m), cancelled(gone), last(t), give_up(limit) {}

  Command& command;
  const bool modifies;
  const bool& cancelled;
  Try last;
  const Nanos give_up;  // no try begins later
  // Tries whose fate is unknown, with the association of the latest on each path.
  std::array<Try, paths_max> lost{};
  std::size_t lost_count = 0;
  Nanos not_before{0};   // on the path of the last try
  unsigned damaged = 0;  // tries whose data was damaged on its way, on this connection
  Errc outcome = Errc::ok;

  void doubt(const Try& t) noexcept {
    for (std::size_t i = 0; i < lost_count; ++i) {
      if (lost[i].path != t.path) continue;
      lost[i].generation = t.generation;
      return;
    }
    lost[lost_count++] = t;
  }
  // From when on nothing of the lost tries is executed; no_deadline while that is not known.
  Nanos quiet_from() const noexcept {
    Nanos when{0};
    for (std::size_t i = 0; i < lost_count; ++i)
      when = std::max(when, lost[i].path->quiet_from(lost[i].generation));
    return when;
  }
};

void CoreIo::fail_io() noexcept {
  failed_ = true;
  changed_.wake_all();
}

void CoreIo::resume_io() noexcept {
  failed_ = false;
  changed_.wake_all();
}

void CoreIo::give_up_users() noexcept {
  for (CorePath* path : paths_) path->fail(Error(Errc::cancelled, "given up by its user"));
  changed_.wake_all();
}

// The best path that is usable now; nullptr when there is none.
CorePath* CoreIo::choose(const Command& command, const CorePath* but) noexcept {
  if (paths_.size() == 1) [[likely]]
    return paths_[0]->usable() && paths_[0] != but ? paths_[0] : nullptr;
  CorePath* best = nullptr;
  const std::size_t count = paths_.size();
  for (std::size_t i = 0; i < count; ++i) {
    CorePath* path = paths_[(turn_ + i) % count];
    // Paths with smaller limits than the command was cut for come up rarely, and are for later commands.
    if (path == but || !path->usable() || command.length > path->use().transfer_bytes_max) continue;
    if (best == nullptr || path->access() > best->access() ||
        (path->access() == best->access() && path->queue().in_flight() < best->queue().in_flight()))
      best = path;
  }
  turn_ = turn_ + 1 < count ? turn_ + 1 : 0;
  return best;
}

Task<Status> CoreIo::execute(Command& command, bool modifies, const bool& cancelled) {
  if (modifies && in_doubt()) [[unlikely]]
    HF_CO_CHECK(co_await outlast_failed(cancelled));
  Try first;
  if (!failed_ && !cancelled) [[likely]]
    first.path = choose(command, nullptr);
  if (first.path != nullptr) [[likely]] {
    first.generation = first.path->generation();
    command.sqe.nsid = first.path->use().nsid;
    command.timeout = config_.io_timeout;
    co_await first.path->queue().issue(command);
    if (command.end == CommandEnd::completed && nvme::CommandStatus::unpack(command.cqe.status).ok())
        [[likely]]
      co_return Status();
  }
  co_return co_await rescue(command, modifies, cancelled, first);
}

Task<Status> CoreIo::rescue(Command& command, bool modifies, const bool& cancelled, Try first) {
  Rescue r(command, modifies, cancelled, first, core_.now() + config_.grace + config_.io_timeout);
  bool ended = first.path != nullptr && judge(r);
  while (!ended) {
    CorePath* path = co_await next_path(r);
    if (path == nullptr) break;
    r.last = Try{path, path->generation()};
    command.sqe.nsid = path->use().nsid;
    command.timeout = config_.io_timeout;
    co_await path->queue().issue(command);
    ended = judge(r);
  }
  co_return co_await settle(r);
}

// What became of the last try. True: the command has ended, with r.outcome.
bool CoreIo::judge(Rescue& r) {
  const Try& tried = r.last;
  if (r.command.end != CommandEnd::completed) {
    if (r.modifies && r.command.sent) r.doubt(tried);
    const bool timed_out = r.command.end == CommandEnd::timed_out;
    r.outcome = timed_out ? Errc::timed_out : Errc::not_connected;
    // A command that took too long here may do better elsewhere; here it has had its time.
    if (timed_out && choose(r.command, tried.path) == nullptr) return true;
    return core_.now() >= r.give_up;
  }
  const auto status = nvme::CommandStatus::unpack(r.command.cqe.status);
  if (status.ok()) {
    r.outcome = Errc::ok;
    return true;
  }
  if (ends_association(status)) {
    if (r.modifies) r.doubt(tried);
    if (tried.path->generation() == tried.generation)
      tried.path->fail(Error(Errc::not_connected, "the target aborts commands as their queue ends"));
  }
  const bool aborted = r.command.late;
  r.outcome = aborted ? Errc::timed_out : nvme::to_errc_of_io(status);
  if (aborted) return choose(r.command, tried.path) == nullptr || core_.now() >= r.give_up;
  if (was_damaged(r.command)) return judge_damage(r);
  const bool trouble = is_path_trouble(status);
  if (!may_retry(status) || !(trouble || is_delayed(status))) return true;
  if (trouble) tried.path->doubt();
  const Nanos named = tried.path->use().retry_delays[status.crd];
  r.not_before = core_.now() + (named > Nanos{0} ? named : retry_interval);
  return config_.grace == Nanos{0} ? choose(r.command, tried.path) == nullptr : r.not_before >= r.give_up;
}

// As judge(), of a command whose data was damaged on its way: nothing of it is executed any more, and it is sent
// again at once. When that does not help, another connection may.
bool CoreIo::judge_damage(Rescue& r) {
  CorePath& path = *r.last.path;
  if (++r.damaged < damaged_tries_max) return core_.now() >= r.give_up;
  r.damaged = 0;
  if (path.generation() == r.last.generation) path.fail(Error(Errc::protocol, "data is damaged on its way"));
  return config_.grace == Nanos{0} ? choose(r.command, &path) == nullptr : core_.now() >= r.give_up;
}

// Where to try next, as soon as there is a place. nullptr: the device has failed, or nobody waits any more.
Task<CorePath*> CoreIo::next_path(Rescue& r) {
  for (;;) {
    if (failed_ || r.cancelled) {
      r.outcome = Errc::not_connected;
      co_return nullptr;
    }
    const bool wait_there = core_.now() < r.not_before;
    CorePath* path = choose(r.command, wait_there ? r.last.path : nullptr);
    if (path != nullptr) co_return path;
    // A path that keeps the device from failing need not be one for this command.
    if (core_.now() >= r.give_up) {
      r.outcome = Errc::not_connected;
      co_return nullptr;
    }
    co_await changed_.wait(wait_there ? std::min(r.not_before, r.give_up) : r.give_up);
  }
}

// The end of a command some try of which may still be executed at a target: see the top of core_io.h.
Task<Status> CoreIo::settle(Rescue& r) {
  while (r.outcome == Errc::ok && !r.cancelled && core_.now() < r.quiet_from())
    co_await changed_.wait(r.quiet_from());
  if (core_.now() < r.quiet_from()) {
    for (std::size_t i = 0; i < r.lost_count; ++i) r.lost[i].path->leave_unresolved(r.lost[i].generation);
    doubts_.fetch_add(1, std::memory_order_release);
    if (r.outcome == Errc::ok) co_return Error(Errc::not_connected);
  }
  if (r.outcome != Errc::ok) co_return Error(r.outcome);
  co_return Status();
}

// A command that was reported as failed may still be executed, and undo what is written after it: that is sent when it
// cannot be executed any more.
Task<Status> CoreIo::outlast_failed(const bool& cancelled) {
  for (;;) {
    if (failed_ || cancelled) co_return Error(Errc::not_connected);
    const std::uint64_t doubts = doubts_.load(std::memory_order_acquire);
    Nanos when{0};
    for (const CorePath* path : paths_) when = std::max(when, path->resolved_from());
    if (core_.now() >= when) {
      outlasted_ = doubts;
      co_return Status();
    }
    co_await changed_.wait(when);
  }
}

}  // namespace holdfast::nvmf::host

#include "nvmf/initiator/path_group.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "rt/when_all.h"

namespace holdfast::nvmf::host {
namespace {

constexpr Nanos quiet_poll = 50ms;     // while a failed device waits for its past to be over
constexpr Nanos command_retry = 20ms;  // between two tries of a command, unless a path changes before
// Connections that one command may lose before it is taken for their end.
constexpr unsigned command_tries_max = 16;

Task<void> close_path(Controller& path) { return path.close(); }

}  // namespace

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

PathGroup::PathGroup(const Cores& cores, RemoteConfig remote)
    : cores_(cores),
      home_(cores.home()),
      remote_(std::move(remote)),
      queues_(cores.count()),
      wake_(home_),
      flow_lock_(home_, 1),
      commands_(home_),
      scope_(home_) {
  for (Reactor* core : cores_) ios_.push_back(std::make_unique<CoreIo>(*core, remote_.config, doubts_));
  ControllerOwner& me = *this;
  for (std::size_t i = 0; i < remote_.path_count(); ++i)
    paths_.push_back(std::make_unique<Controller>(cores_, remote_, i, me, ios_));
  errors_.resize(paths_.size());
}

PathGroup::~PathGroup() { HF_ASSERT(scope_.running() == 0); }

// ---- life

Task<Status> PathGroup::start() {
  for (std::size_t i = 0; i < paths_.size(); ++i) scope_.spawn(first_try(i));
  while (up_ == 0 && tried_ < paths_.size()) co_await wake_.wait();
  if (up_ == 0) co_return *errors_.front();
  started_ = true;
  for (std::size_t i = 0; i < paths_.size(); ++i) {
    if (errors_[i]) paths_[i]->retry();
  }
  waiting_since_ = home_.now();
  scope_.spawn(keep_flow());
  co_return Status();
}

Task<void> PathGroup::first_try(std::size_t index) {
  Controller& path = *paths_[index];
  const Status up = co_await path.start();
  if (up.ok()) {
    ++up_;
  } else {
    errors_[index] = up.error();
    if (started_) {
      HF_LOG(warn, "nvmf", "a path cannot be used yet", {"device", remote_.device_name()},
             {"address", path.address().to_string()}, {"error", up.error()});
      if (!stop_.stop_requested()) path.retry();
    }
  }
  ++tried_;
  wake_.wake_all();
}

bool PathGroup::any_access() const noexcept {
  return std::any_of(paths_.begin(), paths_.end(),
                     [](const auto& path) { return path->access() != Access::none; });
}

Task<Status> PathGroup::use_core(unsigned core) {
  std::optional<Error> first;
  bool any = false;
  for (auto& path : paths_) {
    const Status used = co_await path->use_core(core);
    if (used.ok()) {
      any = true;
    } else if (!first) {
      first = used.error();
    }
  }
  if (any) co_return Status();
  co_return *first;
}

Task<Status> PathGroup::refresh() {
  std::optional<Error> first;
  bool any = false;
  for (auto& path : paths_) {
    const Status seen = co_await path->refresh();
    if (seen.ok()) {
      any = true;
    } else if (!first) {
      first = seen.error();
    }
  }
  if (any) co_return Status();
  co_return *first;
}

// nullptr: none has access.
Controller* PathGroup::best_path() const noexcept {
  const auto best = std::max_element(paths_.begin(), paths_.end(),
                                     [](const auto& a, const auto& b) { return a->access() < b->access(); });
  return (*best)->access() == Access::none ? nullptr : best->get();
}

// What was sent before may still be executed by an association that was lost: harmless to epochs, which never
// go back.
Task<Status> PathGroup::run(const VendorCommand& command) {
  const Gate::Hold hold = commands_.enter();
  unsigned tries = 0;
  while (hold && !stop_.stop_requested() && flow_ != IoFlow::failed) {
    if (Controller* path = best_path()) {
      Status done = co_await path->run(command);
      if (done.code() != Errc::not_connected || ++tries == command_tries_max) co_return done;
    }
    co_await wake_.wait(home_.now() + command_retry, stop_.token());
  }
  co_return Error(Errc::not_connected, std::string(command.what) + ": no path to the device");
}

Task<void> PathGroup::close() {
  stop_.request_stop();
  for (auto& path : paths_) co_await path->cancel();
  co_await scope_.join();
  co_await commands_.close();
  std::vector<Task<void>> closes;
  closes.reserve(paths_.size());
  for (auto& path : paths_) closes.push_back(close_path(*path));
  co_await when_all(std::span<Task<void>>(closes));
}

ControllerState PathGroup::state() const noexcept {
  const auto any = [this](ControllerState state) {
    return std::any_of(paths_.begin(), paths_.end(), [&](const auto& p) { return p->state() == state; });
  };
  for (const auto state :
       {ControllerState::live, ControllerState::reconnecting, ControllerState::connecting}) {
    if (any(state)) return state;
  }
  return ControllerState::closed;
}

// ---- the namespace

Task<Status> PathGroup::admit(const ControllerInfo& info, const NamespaceInfo& found, unsigned queues,
                              Seen seen) {
  bool resized = false;
  if (!known_) {
    if (paths_.size() > 1 && found.uuid.is_nil() && found.nguid.is_nil())
      co_return Error(Errc::not_supported,
                      "the namespace has neither UUID nor NGUID: its paths cannot be told from others");
    known_ = true;
    space_ = found;
    queues_ = queues;
  } else {
    HF_CO_CHECK(check_same(found, queues, seen));
    resized = found.geometry.block_count != space_.geometry.block_count;
    const Capabilities before = space_.capabilities;
    space_ = found;
    if (paths_.size() > 1) space_.capabilities = before;
  }
  merge_limits(info, found);
  co_await push_limits();
  if (resized) raise(DeviceEvent::resized);
  co_return Status();
}

Status PathGroup::check_same(const NamespaceInfo& found, unsigned queues, Seen seen) const {
  if (found.uuid != space_.uuid || found.nguid != space_.nguid)
    return Error(Errc::not_found, "another namespace is there: uuid " + found.uuid.to_string() + ", not " +
                                      space_.uuid.to_string());
  if (found.geometry.block_bytes != space_.geometry.block_bytes)
    return Error(Errc::failed_precondition, "the namespace has another block size than before");
  if (seen == Seen::at_connect && found.geometry.block_count < space_.geometry.block_count)
    return Error(Errc::failed_precondition, "the namespace is smaller than it was");
  // Channels hold on to the queues of the first association.
  if (queues < queues_)
    return Error(Errc::resource_exhausted, "the target grants fewer I/O queues than before");
  return Status();
}

// What every path can do. With one path: what its controller says now.
void PathGroup::merge_limits(const ControllerInfo& info, const NamespaceInfo& found) noexcept {
  PathLimits now;
  now.nsid = found.nsid;
  now.transfer_bytes_max = info.transfer_bytes_max;
  now.zeroes_blocks_max = info.zeroes_blocks_max;
  now.deallocate_blocks_max = info.deallocate_blocks_max;
  now.zeroes_may_deallocate = found.zeroes_may_deallocate;
  now.compare = info.compare;
  now.capabilities = found.capabilities;
  if (paths_.size() > 1 && limits_.nsid != 0) {
    now.transfer_bytes_max = std::min(now.transfer_bytes_max, limits_.transfer_bytes_max);
    now.zeroes_blocks_max = std::min(now.zeroes_blocks_max, limits_.zeroes_blocks_max);
    now.deallocate_blocks_max = std::min(now.deallocate_blocks_max, limits_.deallocate_blocks_max);
    now.zeroes_may_deallocate = now.zeroes_may_deallocate && limits_.zeroes_may_deallocate;
    now.compare = now.compare && limits_.compare;
    Capabilities& can = now.capabilities;
    const Capabilities& could = limits_.capabilities;
    can.write_zeroes = can.write_zeroes && could.write_zeroes;
    can.deallocate = can.deallocate && could.deallocate;
    can.volatile_cache = can.volatile_cache || could.volatile_cache;
    can.read_only = can.read_only || could.read_only;
  }
  now.geometry = space_.geometry;
  space_.capabilities = now.capabilities;
  limits_ = now;
}

Task<void> PathGroup::push_limits() {
  const PathLimits limits = limits_;
  for (unsigned core = 0; core < cores_.count(); ++core) {
    CoreIo& io = *ios_[core];
    auto set = [&io, &limits]() -> Task<void> {
      io.set_limits(limits);
      co_return;
    };
    co_await run_on(home_, cores_.at(core), set);
  }
}

// ---- the flow of I/O

// A target that was restarted has lost its volatile caches. Every path of it finds out by itself, and it is told once.
// The first connection of a path may be the first to a target that was restarted, too: to one that no other path
// reaches any more.
Task<void> PathGroup::on_run(const Uuid& before, const ControllerInfo& info) {
  if (!remote_.config.fail_after_restart || !info.volatile_cache || info.run.is_nil()) co_return;
  const auto has_ended = [&](const Uuid& run) {
    if (run == info.run) return false;
    if (run == before) return true;
    if (before == info.run) return false;
    // This path's first connection, or one after restarts that it did not see.
    return std::none_of(paths_.begin(), paths_.end(), [&](const auto& path) {
      return path->access() != Access::none && path->info().run == run;
    });
  };
  const bool lost = std::erase_if(runs_, has_ended) > 0;
  if (std::find(runs_.begin(), runs_.end(), info.run) == runs_.end()) runs_.push_back(info.run);
  if (lost) co_await fail("the target was restarted");
}

void PathGroup::on_path_changed() noexcept {
  changed_ = true;
  wake_.wake_all();
}

Task<void> PathGroup::keep_flow() {
  while (!stop_.stop_requested()) {
    changed_ = false;
    const Nanos until = co_await step_flow();
    if (!changed_) co_await wake_.wait(until, stop_.token());
  }
}

// How long I/O may wait for the paths as they are now.
Nanos PathGroup::wait_max() const noexcept {
  const bool refused =
      std::all_of(paths_.begin(), paths_.end(), [](const auto& path) { return path->refused(); });
  const InitiatorConfig& config = remote_.config;
  return refused ? std::min(config.grace, config.refused_grace) : config.grace;
}

// Brings flow_ in line with the paths. Gives the time at which that has to be looked at again.
Task<Nanos> PathGroup::step_flow() {
  // For good: what might come back under the same number is another namespace.
  removed_ =
      removed_ || std::all_of(paths_.begin(), paths_.end(), [](const auto& p) { return p->removed(); });
  if (removed_) {
    co_await fail("the namespace was removed");
    co_return no_deadline;
  }
  if (any_access()) {
    if (flow_ != IoFlow::failed) {
      flow_ = IoFlow::flowing;
      co_return no_deadline;
    }
    if (co_await any_unresolved()) co_return home_.now() + quiet_poll;
    co_await resume();
    co_return no_deadline;
  }
  if (flow_ == IoFlow::failed) co_return no_deadline;
  if (std::exchange(flow_, IoFlow::waiting) == IoFlow::flowing) waiting_since_ = home_.now();
  const Nanos end = waiting_since_ + wait_max();
  if (home_.now() < end) co_return end;
  co_await fail("no path within the grace period");
  co_return no_deadline;
}

Task<bool> PathGroup::any_unresolved() {
  bool any = false;
  for (auto& path : paths_) {
    const bool one = co_await path->any_unresolved();
    any = any || one;
  }
  co_return any;
}

Task<void> PathGroup::fail(const char* why) {
  const Semaphore::Permit turn = co_await flow_lock_.acquire();
  if (flow_ == IoFlow::failed) co_return;
  flow_ = IoFlow::failed;
  HF_LOG(warn, "nvmf", "device failed", {"device", remote_.device_name()}, {"why", why});
  for (unsigned core = 0; core < cores_.count(); ++core) {
    CoreIo& io = *ios_[core];
    auto end = [&io]() -> Task<void> {
      io.fail_io();
      co_return;
    };
    co_await run_on(home_, cores_.at(core), end);
  }
  raise(removed_ ? DeviceEvent::removed : DeviceEvent::failed);
}

Task<void> PathGroup::resume() {
  const Semaphore::Permit turn = co_await flow_lock_.acquire();
  if (flow_ != IoFlow::failed || !any_access()) co_return;
  flow_ = IoFlow::flowing;
  HF_LOG(info, "nvmf", "device recovered", {"device", remote_.device_name()});
  for (unsigned core = 0; core < cores_.count(); ++core) {
    CoreIo& io = *ios_[core];
    auto go = [&io]() -> Task<void> {
      io.resume_io();
      co_return;
    };
    co_await run_on(home_, cores_.at(core), go);
  }
  raise(DeviceEvent::recovered);
}

}  // namespace holdfast::nvmf::host

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "nvmf/initiator/controller.h"

namespace holdfast::nvmf::host {

bool Controller::may_flow() const noexcept {
  if (state_ != ControllerState::live || lost_ || removed_) return false;
  return ana_ == nvme::AnaState::optimized || ana_ == nvme::AnaState::non_optimized;
}

Task<void> Controller::go_live(unsigned core) {
  CorePath& path = *paths_[core];
  const PathLimits limits = path_limits();
  const Nanos fence = fence_;
  auto live = [&path, &limits, fence]() -> Task<void> {
    path.go_live(limits, fence);
    co_return;
  };
  co_await run_on(home_, path.reactor(), live);
}

// I/O flows, if it may; else it goes on waiting.
Task<void> Controller::start_flow() {
  const Semaphore::Permit turn = co_await flow_lock_.acquire();
  if (flow_ == IoFlow::flowing) co_return;
  if (!may_flow()) {
    on_path_doubt();
    if (flow_ == IoFlow::waiting && !grace_watched_) scope_.spawn(watch_grace());
    co_return;
  }
  if (std::exchange(cache_lost_, false) && flow_ == IoFlow::waiting) co_await fail_paths();
  const bool recovered = flow_ == IoFlow::failed;
  flow_ = IoFlow::flowing;
  flowed_ = true;
  flow_changed_.wake_all();
  for (unsigned core = 0; core < cores_.count(); ++core) co_await go_live(core);
  if (recovered) raise(DeviceEvent::recovered);
}

Task<void> Controller::stop_flow() {
  const Semaphore::Permit turn = co_await flow_lock_.acquire();
  if (flow_ != IoFlow::flowing) co_return;
  flow_ = IoFlow::waiting;
  grace_end_ = home_.now() + remote_.config.grace;
  if (remote_.config.grace == Nanos{0} || removed_) {
    co_await fail_paths();
    co_return;
  }
  for (auto& path : paths_) {
    CorePath& p = *path;
    auto pause = [&p]() -> Task<void> {
      p.pause();
      co_return;
    };
    co_await run_on(home_, p.reactor(), pause);
  }
  if (!grace_watched_) scope_.spawn(watch_grace());
}

Task<void> Controller::fail_flow() {
  const Semaphore::Permit turn = co_await flow_lock_.acquire();
  if (flow_ == IoFlow::waiting) co_await fail_paths();
}

// With flow_lock_ held.
Task<void> Controller::fail_paths() {
  flow_ = IoFlow::failed;
  const char* why = "no path within the grace period";
  if (state_ == ControllerState::live) why = "the target was restarted";
  if (removed_) why = "the namespace was removed";
  HF_LOG(warn, "nvmf", "device failed", {"device", remote_.device_name()}, {"why", why});
  for (auto& path : paths_) {
    CorePath& p = *path;
    auto fail = [&p]() -> Task<void> {
      p.fail_io();
      co_return;
    };
    co_await run_on(home_, p.reactor(), fail);
  }
  raise(removed_ ? DeviceEvent::removed : DeviceEvent::failed);
}

void Controller::shorten_grace() noexcept {
  const Nanos bound = remote_.config.refused_grace;
  if (flow_ != IoFlow::waiting || bound >= remote_.config.grace) return;
  grace_end_ = std::min(grace_end_, home_.now() + bound);
  flow_changed_.wake_all();
}

// One at a time, while I/O waits.
Task<void> Controller::watch_grace() {
  grace_watched_ = true;
  while (flow_ == IoFlow::waiting && !stop_.stop_requested()) {
    if (home_.now() >= grace_end_) {
      co_await fail_flow();
      break;
    }
    co_await flow_changed_.wait(grace_end_, stop_.token());
  }
  grace_watched_ = false;
}

Task<void> Controller::push_limits() {
  const PathLimits limits = path_limits();
  for (auto& path : paths_) {
    CorePath& p = *path;
    auto update = [&p, &limits]() -> Task<void> {
      p.update(limits);
      co_return;
    };
    co_await run_on(home_, p.reactor(), update);
  }
}

}  // namespace holdfast::nvmf::host

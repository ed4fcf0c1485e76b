#include "nexus/child.h"

namespace holdfast::nexus {
namespace {

ChildReason reason_of(Fault fault) noexcept {
  switch (fault) {
    case Fault::no_space:
      return ChildReason::no_space;
    case Fault::timed_out:
      return ChildReason::timed_out;
    case Fault::io_error:
      return ChildReason::io_failure;
    case Fault::rebuild_failed:
      return ChildReason::rebuild_failed;
    case Fault::offline:
    case Fault::offline_permanent:
      return ChildReason::by_client;
  }
  return ChildReason::none;
}

void set_state(ChildView& view, const Child& child) noexcept {
  if (child.phase == Phase::init) {
    view.state = ChildState::degraded;
    view.reason = ChildReason::init;
  } else if (child.phase == Phase::open && child.suspended) {
    view.state = ChildState::faulted;
    view.reason = reason_of(fault_for(child.suspended_by));
  } else if (child.phase == Phase::open) {
    view.state = child.in_sync ? ChildState::online : ChildState::degraded;
    view.reason = child.in_sync ? ChildReason::none : ChildReason::out_of_sync;
  } else {
    view.reason = child.fault ? reason_of(*child.fault) : ChildReason::closed;
    const bool mild = !child.fault || *child.fault == Fault::no_space || *child.fault == Fault::offline;
    view.state = mild ? ChildState::degraded : ChildState::faulted;
    // Its device is still closing.
    if (child.phase == Phase::leaving && child.device != nullptr) view.state = ChildState::unknown;
  }
}

}  // namespace

Fault fault_for(Errc code) noexcept {
  if (code == Errc::out_of_space) return Fault::no_space;
  if (code == Errc::timed_out) return Fault::timed_out;
  return Fault::io_error;
}

Error of_child(const Error& e) {
  const bool is_away = e.code() == Errc::not_connected || e.code() == Errc::timed_out;
  return is_away ? Error(Errc::invalid_argument, e.message()) : e;
}

ChildView view_of(const Child& child) {
  ChildView view;
  view.uri = child.uri;
  view.uuid = child.uuid;
  if (child.device != nullptr) view.device_name = child.device->name();
  set_state(view, child);
  if (child.job) view.rebuild = child.job->stats();
  view.fault_timestamp = child.fault_time;
  view.local = child.local;
  view.has_io_log = child.phase != Phase::open && (child.missed.has_value() || child.since.has_value());
  return view;
}

}  // namespace holdfast::nexus

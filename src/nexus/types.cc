#include "nexus/types.h"

namespace holdfast::nexus {

std::string_view name(NexusState state) noexcept {
  switch (state) {
    case NexusState::unknown:
      return "unknown";
    case NexusState::online:
      return "online";
    case NexusState::degraded:
      return "degraded";
    case NexusState::faulted:
      return "faulted";
    case NexusState::shutting_down:
      return "shutting_down";
    case NexusState::shutdown:
      return "shutdown";
  }
  return "?";
}

std::string_view name(ChildState state) noexcept {
  switch (state) {
    case ChildState::unknown:
      return "unknown";
    case ChildState::online:
      return "online";
    case ChildState::degraded:
      return "degraded";
    case ChildState::faulted:
      return "faulted";
  }
  return "?";
}

std::string_view name(ChildReason reason) noexcept {
  switch (reason) {
    case ChildReason::none:
      return "none";
    case ChildReason::init:
      return "init";
    case ChildReason::closed:
      return "closed";
    case ChildReason::cannot_open:
      return "cannot_open";
    case ChildReason::config_invalid:
      return "config_invalid";
    case ChildReason::rebuild_failed:
      return "rebuild_failed";
    case ChildReason::io_failure:
      return "io_failure";
    case ChildReason::by_client:
      return "by_client";
    case ChildReason::out_of_sync:
      return "out_of_sync";
    case ChildReason::no_space:
      return "no_space";
    case ChildReason::timed_out:
      return "timed_out";
    case ChildReason::admin_failed:
      return "admin_failed";
  }
  return "?";
}

std::string_view name(Fault fault) noexcept {
  switch (fault) {
    case Fault::no_space:
      return "no_space";
    case Fault::timed_out:
      return "timed_out";
    case Fault::io_error:
      return "io_error";
    case Fault::rebuild_failed:
      return "rebuild_failed";
    case Fault::offline:
      return "offline";
    case Fault::offline_permanent:
      return "offline_permanent";
  }
  return "?";
}

bool may_come_back(Fault fault) noexcept { return fault != Fault::offline_permanent; }

std::string_view name(RebuildState state) noexcept {
  switch (state) {
    case RebuildState::init:
      return "init";
    case RebuildState::rebuilding:
      return "rebuilding";
    case RebuildState::stopped:
      return "stopped";
    case RebuildState::paused:
      return "paused";
    case RebuildState::failed:
      return "failed";
    case RebuildState::completed:
      return "completed";
  }
  return "?";
}

}  // namespace holdfast::nexus

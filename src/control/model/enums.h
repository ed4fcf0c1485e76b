// The enumerations of the control plane, with the exact names that REST API v0 gives them
// (api/openapi.yaml, components/schemas). Enumerators are in the order of their names.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

namespace holdfast::control {

// Specialized for each enumeration: `values`, the names in the order of the enumerators.
template <class E>
struct Names;

template <class E>
concept Named = requires {
  { Names<E>::values[0] } -> std::convertible_to<std::string_view>;
};

template <Named E>
constexpr std::string_view name(E value) noexcept {
  return Names<E>::values[static_cast<std::size_t>(value)];
}

template <Named E>
constexpr std::optional<E> parse_name(std::string_view text) noexcept {
  for (std::size_t i = 0; i < std::size(Names<E>::values); ++i) {
    if (Names<E>::values[i] == text) return static_cast<E>(i);
  }
  return std::nullopt;
}

#define HF_NAMES(E, ...)                                        \
  template <>                                                   \
  struct Names<E> {                                             \
    static constexpr std::string_view values[] = {__VA_ARGS__}; \
  }

enum class SpecStatus : std::uint8_t { creating, created, deleting, deleted };
HF_NAMES(SpecStatus, "Creating", "Created", "Deleting", "Deleted");

enum class VolumeStatus : std::uint8_t { unknown, online, degraded, faulted, shutdown };
HF_NAMES(VolumeStatus, "Unknown", "Online", "Degraded", "Faulted", "Shutdown");

enum class NexusStatus : std::uint8_t { unknown, online, degraded, faulted, shutting_down, shutdown };
HF_NAMES(NexusStatus, "Unknown", "Online", "Degraded", "Faulted", "ShuttingDown", "Shutdown");

enum class ChildStatus : std::uint8_t { unknown, online, degraded, faulted };
HF_NAMES(ChildStatus, "Unknown", "Online", "Degraded", "Faulted");

// Why a child is not online. `none` is not shown.
enum class ChildReason : std::uint8_t {
  none,
  init,
  closed,
  cannot_open,
  config_invalid,
  rebuild_failed,
  io_failure,
  by_client,
  out_of_sync,
  out_of_space,
  timed_out,
  admin_failed,
};
HF_NAMES(ChildReason, "Unknown", "Init", "Closed", "CantOpen", "ConfigInvalid", "RebuildFailed", "IoFailure",
         "ByClient", "OutOfSync", "OutOfSpace", "TimedOut", "AdminCommandFailed");

enum class ReplicaStatus : std::uint8_t { unknown, online, degraded, faulted };
HF_NAMES(ReplicaStatus, "Unknown", "Online", "Degraded", "Faulted");

enum class PoolStatus : std::uint8_t { unknown, online, degraded, faulted };
HF_NAMES(PoolStatus, "Unknown", "Online", "Degraded", "Faulted");

enum class NodeStatus : std::uint8_t { unknown, online, offline };
HF_NAMES(NodeStatus, "Unknown", "Online", "Offline");

enum class Protocol : std::uint8_t { none, nvmf, iscsi, nbd };
HF_NAMES(Protocol, "none", "nvmf", "iscsi", "nbd");

enum class ReplicaKind : std::uint8_t { regular, snapshot, snapshot_clone };
HF_NAMES(ReplicaKind, "Regular", "Snapshot", "SnapshotClone");

enum class RebuildStatus : std::uint8_t { init, rebuilding, stopped, paused, failed, completed };
HF_NAMES(RebuildStatus, "Init", "Rebuilding", "Stopped", "Paused", "Failed", "Completed");

enum class VolumeOp : std::uint8_t {
  create,
  destroy,
  share,
  unshare,
  set_replica,
  remove_unused_replica,
  publish,
  republish,
  unpublish,
  create_snapshot,
  destroy_snapshot,
  resize,
  set_property,
};
HF_NAMES(VolumeOp, "Create", "Destroy", "Share", "Unshare", "SetReplica", "RemoveUnusedReplica", "Publish",
         "Republish", "Unpublish", "CreateSnapshot", "DestroySnapshot", "Resize", "SetVolumeProperty");

enum class NexusOp : std::uint8_t { create, destroy, share, unshare, add_child, remove_child, shutdown };
HF_NAMES(NexusOp, "Create", "Destroy", "Share", "Unshare", "AddChild", "RemoveChild", "Shutdown");

enum class ReplicaOp : std::uint8_t { create, destroy, share, unshare };
HF_NAMES(ReplicaOp, "Create", "Destroy", "Share", "Unshare");

enum class PoolOp : std::uint8_t { create, destroy };
HF_NAMES(PoolOp, "Create", "Destroy");

#undef HF_NAMES

}  // namespace holdfast::control

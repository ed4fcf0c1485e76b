// RemoteDevice: a namespace of an NVMe-oF/TCP target as a BlockDevice.
//
// At each of its addresses one admin connection on the home core and one I/O connection per core, opened with
// that core's first channel. I/O goes over the paths that ANA prefers, and over another one when one is lost.
// Grace      when no path can be used I/O waits for it up to InitiatorConfig::grace;
//            then the device fails
//            (the event `failed`, and Errc::not_connected for every operation) and goes on trying in the
//            background; `recovered` is raised when the same namespace is back. With grace 0 it fails at
//            once.
// Time-outs  a command that takes longer than io_timeout is aborted, and if that does not end it within
//            abort_timeout the connections are reset; it ends with Errc::timed_out, once.
// Order      an operation that was in flight when a connection broke is issued again by itself;
//            controller.h and
//            core_io.h say why that is safe. An operation that failed with not_connected or timed_out may
//            still be executed at the target, until close() has ended or `recovered` was raised.
// Durability where the target has a volatile cache, writes that were not flushed are lost with its power.
//            A grace
//            period shorter than a restart of the target's machine keeps such a loss from being bridged.
// Buffers    any alignment; data goes to and comes from the caller's memory without a copy,
//            except for what one
//            receive brings along with the header before it.
#pragma once

#include <memory>

#include "block/block_device.h"
#include "block/uri.h"
#include "nvmf/initiator/config.h"
#include "nvmf/initiator/path_group.h"

namespace holdfast::nvmf {

class RemoteDevice final : public BlockDevice, host::PathGroupObserver {
 public:
  // Connects once, within config.connect_timeout, at least over one path. Errors: not_connected, timed_out
  // (the target), not_found (host, subsystem, namespace or UUID), busy, not_supported, protocol; the texts
  // say what and where. `cores` outlives the device.
  static Task<Result<std::unique_ptr<BlockDevice>>> open(const Cores& cores, RemoteConfig remote,
                                                         std::string uri);
  // nullptr when the device is of another kind.
  static const RemoteDevice* from(const BlockDevice& device) noexcept;

  ~RemoteDevice() override = default;  // close() was awaited

  const Geometry& geometry() const noexcept override { return geometry_; }
  const Capabilities& capabilities() const noexcept override { return capabilities_; }
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override;
  Task<IoStats> stats() override;
  Task<Status> rescan() override { return paths_->refresh(); }
  // Of the host identifier that the device connects with.
  ReservationClient* reservations() noexcept override { return reservations_.get(); }
  // Of targets of ours that have them for the namespace.
  EpochClient* epochs() noexcept override { return paths_->space().epochs ? epochs_.get() : nullptr; }
  SnapshotClient* snapshots() noexcept override {
    return paths_->space().snapshots ? snapshots_.get() : nullptr;
  }
  Task<void> close() override { return paths_->close(); }

  // Whether I/O flows, and each path's state and ANA state. Home core.
  const host::PathGroup& paths() const noexcept { return *paths_; }
  // The path to the first address.
  const host::Controller& controller() const noexcept { return paths_->path(0); }

 private:
  RemoteDevice(Identity identity, const Cores& cores, std::unique_ptr<host::PathGroup> paths);
  void on_group_event(DeviceEvent event) noexcept override;

  const Cores& cores_;
  std::unique_ptr<host::PathGroup> paths_;
  std::unique_ptr<ReservationClient> reservations_;
  std::unique_ptr<EpochClient> epochs_;
  std::unique_ptr<SnapshotClient> snapshots_;
  Geometry geometry_;
  Capabilities capabilities_;
};

}  // namespace holdfast::nvmf

// What the process of an attachment does, on the home core.
#pragma once

#include <functional>
#include <memory>

#include "base/error.h"
#include "block/block_device.h"
#include "cli/attach/daemon.h"
#include "cli/attach/fuse_export.h"
#include "rt/message.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/stop.h"

namespace holdfast::cli {

class AttachServer final : DeviceObserver {
 public:
  AttachServer(const Cores& cores, const DaemonPlan& plan)
      : cores_(cores), plan_(plan), tasks_(cores.home()) {}

  // Attaches, calls ready() once, and serves until the stop is requested and everything is undone. Errors
  // before ready(): nothing is left behind. After it: what was written last may not have reached the target.
  Task<Status> run(std::function<void(const Attachment&)> ready, StopToken stop);
  // Every request fails from now on. Any thread.
  void fail_requests() noexcept { cores_.home().send(fail_); }

 private:
  struct FailMessage final : Message {
    explicit FailMessage(AttachServer& s) noexcept : server(s) {}
    void run() noexcept override;
    AttachServer& server;
  };

  void on_device_event(BlockDevice& device, DeviceEvent event) noexcept override;
  Task<Status> open();
  Status check_alone();
  Task<Status> bind();
  Task<void> follow_size();
  Task<void> follow_state(StopToken stop);
  Task<Status> release();
  Task<void> close();
  Task<Status> blocking(std::function<Status()> work);
  void save() noexcept;

  const Cores& cores_;
  const DaemonPlan& plan_;
  Attachment attachment_;
  FileDescriptor alone_;  // the lock of the namespace, until this process ends
  std::unique_ptr<BlockDevice> device_;
  std::unique_ptr<Channel> channel_;
  std::unique_ptr<FuseExport> export_;
  TaskScope tasks_;
  FailMessage fail_{*this};
  bool failing_ = false;
};

}  // namespace holdfast::cli

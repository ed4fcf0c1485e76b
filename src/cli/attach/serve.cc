#include "cli/attach/serve.h"

#include <utility>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/attach/loop_device.h"
#include "nvmf/initiator/remote_device.h"

namespace holdfast::cli {
namespace {

constexpr Nanos state_interval = 1s;
constexpr Nanos handle_interval = 50ms;
// A forced detach waits so long for those who still have the device open.
constexpr Nanos forced_wait_max = 3s;

const char* state_word(const BlockDevice& device) noexcept {
  const auto* remote = nvmf::RemoteDevice::from(device);
  HF_ASSERT(remote != nullptr);
  switch (remote->paths().flow()) {
    case nvmf::host::IoFlow::flowing:
      return "online";
    case nvmf::host::IoFlow::waiting:
      return "reconnecting";
    case nvmf::host::IoFlow::failed:
      return "lost";
  }
  return "lost";
}

}  // namespace

void AttachServer::FailMessage::run() noexcept {
  if (server.failing_) return;
  server.failing_ = true;
  HF_LOG(warn, "attach", "told to give up the target: requests fail from now on");
  if (server.channel_ != nullptr) server.channel_->cancel_all();
}

void AttachServer::save() noexcept {
  const Status saved = plan_.store.save(attachment_);
  if (!saved.ok()) HF_LOG(error, "attach", "record not written", {"error", saved.error()});
}

// Runs work that may wait for a request to this very process: never on the home core.
Task<Status> AttachServer::blocking(std::function<Status()> work) {
  std::optional<Error> failed;
  std::function<void()> job = [&work, &failed] {
    const Status done = work();
    if (!done.ok()) failed = done.error();
  };
  co_await cores_.home().run_blocking(job);
  if (failed) co_return *failed;
  co_return Status();
}

void AttachServer::on_device_event(BlockDevice&, DeviceEvent event) noexcept {
  if (event == DeviceEvent::resized && export_ != nullptr) tasks_.spawn(follow_size());
}

Task<void> AttachServer::follow_size() {
  export_->set_size(device_->geometry().size_bytes());
  std::function<Status()> refresh = [file = export_->file_path(), device = attachment_.device]() -> Status {
    // Older kernels take the size that the file had when somebody last asked for it.
    struct stat st {};
    static_cast<void>(::stat(file.c_str(), &st));
    return refresh_loop_size(device);
  };
  const Status done = co_await blocking(refresh);
  if (done.ok()) {
    HF_LOG(info, "attach", "resized", {"bytes", device_->geometry().size_bytes()});
  } else {
    HF_LOG(error, "attach", "the device keeps its old size", {"error", done.error()});
  }
}

Task<void> AttachServer::follow_state(StopToken stop) {
  while (co_await cores_.home().sleep(state_interval, stop)) {
    const char* state = state_word(*device_);
    if (attachment_.state == state) continue;
    HF_LOG(info, "attach", "state changed", {"from", attachment_.state}, {"to", state});
    attachment_.state = state;
    save();
  }
}

Task<Status> AttachServer::open() {
  HF_CO_TRY(device_, co_await nvmf::RemoteDevice::open(cores_, plan_.remote, plan_.attachment.uri));
  device_->subscribe(*this);
  HF_CO_TRY(channel_, co_await device_->open_channel(cores_.home()));
  co_return Status();
}

// Two devices of one namespace, each with a cache of its own, undo each other's writes.
Status AttachServer::check_alone() {
  attachment_.space = device_->identity().uuid.to_string();
  HF_TRY(const auto known, plan_.store.all());
  for (const Attachment& other : known) {
    if (other.id == attachment_.id || other.space != attachment_.space) continue;
    if (plan_.store.lock(other.id).code() != Errc::busy) continue;  // nobody serves it any more
    return Error(Errc::failed_precondition,
                 fmt::format("its namespace is attached already, as {} by {}", other.device, other.uri));
  }
  // Others that begin at this moment have no record yet.
  auto alone = plan_.store.lock(attachment_.space);
  if (alone.code() == Errc::busy)
    return Error(Errc::failed_precondition, "its namespace is being attached already, by another URI");
  if (!alone.ok()) return alone.error();
  alone_ = std::move(alone).value();
  return Status();
}

Task<Status> AttachServer::bind() {
  const std::string directory = plan_.store.mount_directory(attachment_.id);
  HF_CO_CHECK(make_directories(directory));
  const bool read_only = plan_.read_only || device_->capabilities().read_only;
  export_ = std::make_unique<FuseExport>(cores_.home(), *channel_, device_->geometry(), read_only, directory);
  const Status started = export_->start();
  if (!started.ok()) {
    export_.reset();
    co_return started.error();
  }
  LoopOptions loop;
  loop.block_bytes = device_->geometry().block_bytes;
  loop.read_only = read_only;
  loop.label = plan_.remote.nqn;
  std::function<Status()> attach = [this, &loop]() -> Status {
    HF_TRY(attachment_.device, attach_loop(export_->file_path(), loop));
    return Status();
  };
  const Status attached = co_await blocking(attach);
  if (!attached.ok()) {
    co_await export_->stop();
    export_.reset();
    co_return attached.error();
  }
  co_return Status();
}

// Lets go of the loop device, then of the file, then makes everything durable.
Task<Status> AttachServer::release() {
  std::function<Status()> detach = [device = attachment_.device] { return detach_loop(device); };
  const Status detached = co_await blocking(detach);
  if (!detached.ok()) HF_LOG(error, "attach", "loop device not released", {"error", detached.error()});
  // The kernel keeps the file until the last user of the device has closed it.
  Reactor& home = cores_.home();
  Nanos forced_since = no_deadline;
  while (export_->handles() > 0) {
    if (failing_ && forced_since == no_deadline) forced_since = home.now();
    if (failing_ && home.now() - forced_since > forced_wait_max) break;
    co_await home.sleep(handle_interval);
  }
  co_await export_->stop();
  const std::optional<Error> lost = export_->lost();
  export_.reset();
  if (failing_) co_return Status();
  if (device_->capabilities().flush) HF_CO_CHECK(co_await channel_->flush());
  if (lost) co_return *lost;
  co_return Status();
}

Task<void> AttachServer::close() {
  co_await tasks_.join();
  if (channel_ != nullptr) co_await channel_->close();
  channel_.reset();
  if (device_ != nullptr) {
    device_->unsubscribe(*this);
    co_await device_->close();
  }
  device_.reset();
}

Task<Status> AttachServer::run(std::function<void(const Attachment&)> ready, StopToken stop) {
  attachment_ = plan_.attachment;
  Status status = co_await open();
  if (status.ok()) status = check_alone();
  if (status.ok()) status = co_await bind();
  if (status.ok()) {
    attachment_.pid = ::getpid();
    attachment_.state = "online";
    save();
    ready(attachment_);
    HF_LOG(info, "attach", "attached", {"device", attachment_.device}, {"uri", attachment_.uri});
    co_await follow_state(stop);
    HF_LOG(info, "attach", "told to detach");
    attachment_.state = "detaching";
    save();
    status = co_await release();
    if (!status.ok()) {
      attachment_.error = status.error().message();
      save();
    }
  }
  co_await close();
  co_return status.ok() ? Status() : Status(status.error());
}

}  // namespace holdfast::cli

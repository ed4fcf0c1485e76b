#include "nvmf/initiator/core_path.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "nvmf/initiator/session.h"
#include "rt/cross_core.h"

namespace holdfast::nvmf::host {

CorePath::CorePath(Reactor& core, Reactor& home, PathOwner& owner, WaitQueue& changed,
                   std::atomic<std::uint64_t>& unresolved)
    : core_(core),
      home_(home),
      owner_(owner),
      changed_(changed),
      unresolved_(unresolved),
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
  if (failure) {
    co_await drop_queue();
    co_return *failure;
  }
  connected_ = true;
  refresh();
  co_return Status();
}

void CorePath::refresh() noexcept {
  usable_ = connected_ && queue_ != nullptr && queue_->alive() && use_.access != Access::none;
  changed_.wake_all();
}

void CorePath::set_use(const PathUse& use) noexcept {
  use_ = use;
  refresh();
}

Task<void> CorePath::drop_queue() {
  connected_ = usable_ = false;
  if (queue_ == nullptr) co_return;
  co_await queue_->close();
  queue_.reset();
  // Home is to take it for this queue's end, not for the next one's.
  while (lost_.under_way()) co_await core_.yield();
}

void CorePath::set_quiet(std::uint64_t torn_down, Nanos fence) noexcept {
  torn_down_ = torn_down;
  fence_ = fence;
  changed_.wake_all();
}

Task<void> CorePath::close() {
  cancel();
  co_await drop_queue();
  co_await scope_.join();
  while (doubt_.under_way()) co_await core_.yield();
}

void CorePath::fail(Error why) noexcept {
  if (queue_ != nullptr) queue_->fail(std::move(why));
}

void CorePath::on_queue_dead(Queue&, const Error&) noexcept {
  usable_ = false;
  if (connected_) lost_.post();  // else open_queue() says so
}

void CorePath::on_command_late(Queue&, Command& command) noexcept { scope_.spawn(ask_abort(command.cid)); }

Task<void> CorePath::ask_abort(std::uint16_t cid) {
  const std::uint16_t qid = qid_;
  auto there = [this, qid, cid]() -> Task<void> { return owner_.abort(qid, cid); };
  co_await run_on(core_, home_, there);
}

}  // namespace holdfast::nvmf::host

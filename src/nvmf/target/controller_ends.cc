// Controller: how its commands and itself come to an end early: Abort, and the shutdown notification. The
// timestamp, which outlives a reset, is here too.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "nvmf/target/connection.h"
#include "nvmf/target/controller.h"
#include "nvmf/target/subsystem.h"
#include "rt/cross_core.h"

namespace holdfast::nvmf::target {

using nvme::CommandStatus;
using nvme::permanent;
using nvme::StatusCode;

// Commands that wait for memory or data, or move their data in pieces, can be taken back; what a device has
// is left to it. The result says that a command was aborted when its completion with that status has gone out
// before (NVMe Base 2.0, section 5.1).
Task<AdminReply> Controller::abort(const AdminCall& call) {
  constexpr std::uint64_t aborted = 0, not_aborted = 1;
  const auto qid = static_cast<std::uint16_t>(call.sqe.cdw10);
  const auto cid = static_cast<std::uint16_t>(call.sqe.cdw10 >> 16);
  for (auto it = parked_.begin(); qid == 0 && it != parked_.end(); ++it) {
    if (it->cid != cid) continue;
    const ParkedEvent event = *it;
    parked_.erase(it);
    answer(event, StatusCode::abort_requested, 0);
    co_return AdminReply(CommandStatus(), aborted);
  }
  const Queue* queue = find_queue(qid);
  if (qid == 0 || queue == nullptr) co_return AdminReply(CommandStatus(), not_aborted);
  if (aborts_ >= aborts_max) co_return AdminReply(permanent(StatusCode::abort_command_limit_exceeded));
  ++aborts_;
  Connection& connection = *queue->connection;
  auto there = [&]() -> Task<bool> { return connection.abort(cid); };
  const bool was_aborted = co_await run_on(home(), *queue->core, there);
  --aborts_;
  co_return AdminReply(CommandStatus(), was_aborted ? aborted : not_aborted);
}

// However often a host asks, one task of each kind waits: a device may take its time for a flush.
void Controller::begin_shut_down(nvme::ShutdownNotice how) {
  ++shutdowns_;
  flush_asked_ = how == nvme::ShutdownNotice::normal;
  if (std::exchange(shutting_down_[flush_asked_ ? 1 : 0], true)) return;
  ++pins_;
  subsystem_.registry().scope().spawn(shut_down(flush_asked_));
}

// After the I/O queues, the caches of the devices; a host that is in a hurry does without. A reset meanwhile,
// or the end of the host, leaves nothing to report.
Task<void> Controller::shut_down(bool with_flush) {
  unsigned nth = 0;
  do {
    nth = shutdowns_;
    while (has_io_queues()) (void)co_await queue_gone_.wait();
    if (!with_flush) continue;
    const Status flushed = co_await subsystem_.flush();
    if (flushed.ok()) continue;
    if (const auto left_out = subsystem_.registry().log_limiter().admit(home().now())) {
      HF_LOG(warn, "nvmf", "flush at the shutdown of a controller failed", {"nqn", subsystem_.config().nqn},
             {"host", host_.nqn}, {"error", flushed.error()}, {"left_out", *left_out});
    }
  } while (nth != shutdowns_ && flush_asked_ == with_flush);  // asked again meanwhile
  shutting_down_[with_flush ? 1 : 0] = false;
  --pins_;
  if (csts_.shst == nvme::ShutdownStatus::occurring && nth == shutdowns_) {
    csts_.shst = nvme::ShutdownStatus::complete;
  }
  forget_if_over();
}

nvme::Timestamp Controller::timestamp(bool current) const noexcept {
  const bool by_host = current && timestamp_by_host_;
  const Nanos since = home().now() - (current ? timestamp_set_at_ : made_at_);
  const auto elapsed_ms = std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
  const std::uint64_t now_ms = (by_host ? timestamp_ms_ : 0) + static_cast<std::uint64_t>(elapsed_ms);
  nvme::Timestamp out{};
  for (unsigned i = 0; i < sizeof out.milliseconds; ++i) {
    out.milliseconds[i] = static_cast<std::uint8_t>(now_ms >> (8 * i));
  }
  if (by_host) out.attributes = nvme::timestamp_by_host;
  return out;
}

void Controller::set_timestamp(const nvme::Timestamp& value) noexcept {
  timestamp_ms_ = 0;
  for (unsigned i = 0; i < sizeof value.milliseconds; ++i) {
    timestamp_ms_ |= std::uint64_t{value.milliseconds[i]} << (8 * i);
  }
  timestamp_set_at_ = home().now();
  timestamp_by_host_ = true;
}

}  // namespace holdfast::nvmf::target

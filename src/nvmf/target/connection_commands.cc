// Connection: commands of the queue itself (Fabrics and admin), and their responses.
#include <algorithm>
#include <cstring>

#include "nvme/identify.h"
#include "nvmf/target/connection.h"
#include "rt/cross_core.h"

namespace holdfast::nvmf::target {
namespace {

// With the place of the parameter that was refused, where there is one.
std::string refusal_text(const ConnectReply& reply) {
  std::string text = nvme::name(reply.status.code);
  if (reply.dw0 == 0) return text;
  const auto place = nvme::ConnectError::unpack(reply.dw0);
  return text + (place.in_data ? ", data at byte " : ", command at byte ") + std::to_string(place.ipo);
}

}  // namespace

using nvme::AdminOpcode;
using nvme::CommandStatus;
using nvme::FabricsType;
using nvme::permanent;
using nvme::StatusCode;

namespace {

// For a command that an Abort waits for.
constexpr Nanos abort_wait_max = 1s;

bool is_connect(const nvme::Sqe& sqe) noexcept {
  return sqe.opc == static_cast<std::uint8_t>(AdminOpcode::fabrics) &&
         nvme::as<nvme::FabricsCmd>(sqe).fctype == static_cast<std::uint8_t>(FabricsType::connect);
}

}  // namespace

void Connection::dispatch(Request& r) {
  ++context_.stats().commands;
  if (is_connected_ && !ids_.insert(r)) [[unlikely]]
    return refuse_id(r);
  const bool is_plain = r.sqe.flags == nvme::Sqe::psdt_sgl && !r.transport_error && fused_first_ == nullptr;
  if (!is_plain && !admit(r)) return;
  if (r.sqe.opc == static_cast<std::uint8_t>(AdminOpcode::fabrics)) {
    const auto type = static_cast<FabricsType>(nvme::as<nvme::FabricsCmd>(r.sqe).fctype);
    if (type == FabricsType::connect) {
      if (is_connected_ || connecting_) return complete(r, permanent(StatusCode::command_sequence_error));
      connecting_ = true;
      return commands_.spawn(run_connect(r));
    }
    if (is_connected_ && type == FabricsType::disconnect && queue_.qid != 0) return run_disconnect(r);
    // The others are for the admin queue only (NVMe Base 2.0, section 6, the figure on command types).
    if (is_connected_ && queue_.qid != 0) return complete(r, permanent(StatusCode::invalid_field));
  }
  if (!is_connected_) return complete(r, permanent(StatusCode::command_sequence_error));
  if (queue_.qid == 0) return commands_.spawn(run_admin(r));
  io_.start(r);
}

// The command that has the identifier goes on. The host cannot tell the two apart any more; the error log and
// ours say what it did.
void Connection::refuse_id(Request& r) {
  give_up_fused(StatusCode::aborted_missing_fused);
  const CommandStatus status = StatusCode::command_id_conflict;  // may be right the next time
  if (!r.transport_error) (void)report_error(r, status, 0);
  context_.log_refusal(peer(), queue_.qid, r.sqe.opc, status);
  complete(r, status);
}

// What is seldom: commands whose form is wrong, and fused ones. False: r was answered, or waits.
bool Connection::admit(Request& r) {
  const bool is_fabrics = r.sqe.opc == static_cast<std::uint8_t>(AdminOpcode::fabrics);
  const bool is_second = !is_fabrics && r.sqe.fuse() == nvme::Sqe::fuse_second;
  Request* first = nullptr;
  if (is_second) {
    first = std::exchange(fused_first_, nullptr);
  } else {
    give_up_fused(StatusCode::aborted_missing_fused);
  }
  CommandStatus status;
  if (r.transport_error) {
    status = StatusCode::transient_transport_error;
  } else if (is_fabrics) {
    // The byte is reserved in Fabrics commands (NVMe Base 2.0, section 3.3.2.1.1).
  } else if (r.sqe.psdt() != nvme::Sqe::psdt_sgl >> 6) {
    status = permanent(StatusCode::invalid_field);
  } else if (is_second && first != nullptr) {
    io_.start_fused(*first, r);
    return false;
  } else if (is_second && is_connected_ && queue_.qid != 0) {
    status = StatusCode::aborted_missing_fused;
  } else if (r.sqe.fuse() == nvme::Sqe::fuse_first && is_connected_ && queue_.qid != 0 &&
             r.sqe.opc == static_cast<std::uint8_t>(nvme::IoOpcode::compare)) {
    fused_first_ = &r;
    r.since = reactor_.now();
    return false;
  } else if (r.sqe.fuse() != 0) {
    status = permanent(StatusCode::invalid_field);
  }
  if (first != nullptr) complete(*first, StatusCode::aborted_failed_fused);
  if (!status.ok()) complete(r, status);
  return status.ok();
}

void Connection::give_up_fused(CommandStatus status) {
  if (Request* first = std::exchange(fused_first_, nullptr)) complete(*first, status);
}

Task<void> Connection::run_connect(Request& r) {
  const CommandStatus pointer = prepare_host_data(r, sizeof(nvme::ConnectData));
  if (!pointer.ok()) {
    connecting_ = false;
    co_return complete(r, pointer);
  }
  const bool got = co_await fetch_host_data(r, sizeof(nvme::ConnectData));
  if (!got) {
    connecting_ = false;
    co_return;
  }
  const auto cmd = nvme::as<nvme::ConnectCmd>(r.sqe);
  const auto data = load<nvme::ConnectData>(std::span<const std::byte>(r.vec.data, r.vec.size));
  const std::uint32_t entries = cmd.sqsize + 1u;
  if (!context_.reserve_entries(entries)) {
    connecting_ = false;
    context_.log_peer(peer(), "Connect refused", "the queues of this core have too many entries");
    co_return complete(r, StatusCode::connect_controller_busy);
  }
  Registry& registry = context_.registry();
  ConnectCall call(*this, reactor_, cmd, data, stream_->local(), stream_->peer());
  auto at_home = [&]() -> Task<ConnectReply> { return registry.connect(call); };
  const ConnectReply reply = co_await run_on(reactor_, registry.home(), at_home);
  connecting_ = false;
  if (!reply.status.ok()) {
    context_.return_entries(entries);
    context_.log_peer(peer(), "Connect refused", refusal_text(reply));
    co_return complete(r, reply.status, reply.dw0);
  }
  become_queue(reply, cmd);
  // The queue's reserve must be there before the host may send data with its commands.
  Buffer reserve = co_await reactor_.buffers().acquire(capsule_data_bytes, stop_.token());
  if (!reserve) co_return;
  reserve_ = std::move(reserve);
  has_reserve_ = true;
  complete(r, CommandStatus(), reply.dw0);
}

void Connection::become_queue(const ConnectReply& reply, const nvme::ConnectCmd& cmd) {
  is_connected_ = true;
  queue_ = reply.queue;
  entries_ = cmd.sqsize + 1u;
  ids_.resize(entries_);
  no_sq_flow_control_ = (cmd.cattr & nvme::ConnectCmd::cattr_no_sq_flow_control) != 0;
  if (queue_.view == nullptr) return;
  io_.attach(*queue_.view, queue_.host_id);
  wants_large_staging_ = true;
}

// Of an I/O queue (NVMe Base 2.0, section 6.4): the response is the last thing that the host hears.
void Connection::run_disconnect(Request& r) {
  if (nvme::as<nvme::DisconnectCmd>(r.sqe).recfmt != 0) {
    return complete(r, permanent(StatusCode::connect_incompatible_format));
  }
  complete(r, CommandStatus());
  sender_.seal();
  orderly_ = true;
}

Task<void> Connection::run_admin(Request& r) {
  const AdminTransfer transfer = admin_transfer(r.sqe);
  if (!transfer.status.ok()) co_return complete(r, transfer.status);
  if (transfer.to_host + transfer.to_controller > 0) {
    const bool got = co_await bring_admin_data(r, transfer);
    if (!got) co_return;
  } else {
    drop_buffer(r);  // of a capsule with data: an event request would keep it for ever
  }
  Registry& registry = context_.registry();
  Controller& controller = *queue_.controller;
  // Parked before home may answer it, from then on home decides.
  const bool parks = r.sqe.opc == static_cast<std::uint8_t>(AdminOpcode::async_event_request);
  if (parks) r.state = Request::State::parked;
  const AdminCall call(r.sqe, r.tag, std::span<std::byte>(r.vec.data, r.vec.size));
  auto at_home = [&]() -> Task<AdminReply> { return registry.admin(controller, call); };
  const AdminReply reply = co_await run_on(reactor_, registry.home(), at_home);
  if (reply.parked) co_return;
  r.state = Request::State::executing;
  if (!reply.status.ok() || transfer.to_host == 0) co_return complete(r, reply.status, reply.result);
  complete_with_data(r, reply.result);
}

// False: r was answered, or the connection ends.
Task<bool> Connection::bring_admin_data(Request& r, const AdminTransfer& transfer) {
  const CommandStatus pointer =
      transfer.to_host > 0 ? check_reply(r, transfer.to_host) : prepare_host_data(r, transfer.to_controller);
  if (!pointer.ok()) {
    complete(r, pointer);
    co_return false;
  }
  if (transfer.to_controller > 0) {
    const bool got = co_await fetch_host_data(r, transfer.to_controller);
    co_return got;
  }
  const bool got = co_await replace_buffer(r, transfer.to_host);
  if (!got) co_return false;
  std::memset(r.vec.data, 0, r.vec.size);
  co_return true;
}

void Connection::complete_parked(std::uint16_t tag, CommandStatus status, std::uint32_t dw0) {
  if (closing_ || tag >= requests_.size() || requests_[tag].state != Request::State::parked) return;
  requests_[tag].state = Request::State::executing;
  complete(requests_[tag], status, dw0);
}

Task<bool> Connection::abort(std::uint16_t cid) {
  const Gate::Hold hold = aborts_.enter();
  if (!hold) co_return false;
  if (fused_first_ != nullptr && fused_first_->sqe.cid == cid) {
    give_up_fused(StatusCode::abort_requested);
    co_return true;
  }
  const auto it = std::find_if(requests_.begin(), requests_.end(), [cid](const Request& r) {
    const bool under_way = r.state == Request::State::executing || r.state == Request::State::awaiting_data;
    return under_way && r.sqe.cid == cid;
  });
  if (it == requests_.end() || it->abort != nullptr) co_return false;
  Request& r = *it;
  AbortWait wait;
  r.abort = &wait;
  const Nanos deadline = reactor_.now() + abort_wait_max;
  while (!wait.ended) {
    const Wake woken = co_await aborted_wait_.wait(deadline, stop_.token());
    if (woken != Wake::signalled) break;
  }
  if (!wait.ended) r.abort = nullptr;
  co_return wait.aborted;
}

void Connection::settle_abort(Request& r, bool aborted) noexcept {
  AbortWait* wait = std::exchange(r.abort, nullptr);
  wait->ended = true;
  wait->aborted = aborted;
  aborted_wait_.wake_all();
}

void Connection::complete(Request& r, const CommandStatus& status, std::uint64_t result) {
  HF_ASSERT(r.state == Request::State::executing);
  const CommandStatus told = status.ok() ? status : note_failure(r, status);
  drop_buffer(r);  // at once: the next command gets it while it is in the cache
  respond(r, told, result);
}

// Counts, reports and logs a failure, and gives the status as this host understands it.
CommandStatus Connection::note_failure(const Request& r, CommandStatus status) {
  ++context_.stats().commands_failed;
  if (!queue_.retry_delays) status.crd = 0;
  const bool refused = status.dnr && status.code != StatusCode::compare_failure;
  if (refused && is_connected_) {
    const bool has_range = queue_.qid != 0 && nvme::has_io_range(r.sqe.opc);
    // A Connect that fails is not for the controller's log (NVMe Base 2.0, section 6.3).
    if (!is_connect(r.sqe)) (void)report_error(r, status, has_range ? nvme::io_range(r.sqe).slba : 0);
    context_.log_refusal(peer(), queue_.qid, r.sqe.opc, status);
  }
  return status;
}

void Connection::respond(Request& r, const CommandStatus& status, std::uint64_t result) {
  nvme::CapsuleResp pdu{};
  pdu.rccqe.result = result;
  pdu.rccqe.sqhd = advance_sqhd();
  pdu.rccqe.cid = r.sqe.cid;
  pdu.rccqe.status = status.pack();
  r.state = Request::State::responding;
  --unanswered_;
  ids_.erase(r);
  if (r.abort != nullptr) [[unlikely]]
    settle_abort(r, status.code == StatusCode::abort_requested);
  sender_.queue(pdu, &r);
}

void Connection::complete_with_data(Request& r, std::uint64_t result) {
  HF_ASSERT(r.state == Request::State::executing);
  const auto bytes = static_cast<std::uint32_t>(r.vec.size);
  nvme::C2hData pdu{};
  pdu.cccid = r.sqe.cid;
  pdu.datal = bytes;
  pdu.ch.flags = nvme::flag_last_pdu;
  const tcp::IoSlice data(IoVecs(&r.vec, 1), 0, bytes);
  if (!no_sq_flow_control_ || result != 0) {
    sender_.queue(pdu, nullptr, data);
    return respond(r, CommandStatus(), result);
  }
  // Without flow control the host needs nothing that a response would carry (NVMe/TCP 1.0, section 3.3.2.1).
  pdu.ch.flags |= nvme::flag_success;
  r.state = Request::State::responding;
  --unanswered_;
  ids_.erase(r);
  sender_.queue(pdu, &r, data);
}

// The submission queue head that the next response reports. Moved by responses, not by arrivals: so a host
// that obeys it never has more commands under way than its queue has entries.
std::uint16_t Connection::advance_sqhd() noexcept {
  if (no_sq_flow_control_) return 0xffff;
  if (entries_ == 0) return 0;
  sqhd_ = sqhd_ + 1 == entries_ ? 0 : sqhd_ + 1;
  return static_cast<std::uint16_t>(sqhd_);
}

bool Connection::report_error(const Request& r, CommandStatus status, std::uint64_t lba) {
  if (reporting_error_ || closing_) return false;
  reporting_error_ = true;
  commands_.spawn(send_error_report(ErrorReport(queue_.qid, r.sqe, status, lba)));
  return true;
}

Task<void> Connection::send_error_report(ErrorReport report) {
  Registry& registry = context_.registry();
  Controller& controller = *queue_.controller;
  auto at_home = [&]() -> Task<void> {
    registry.report_error(controller, report);
    co_return;
  };
  co_await run_on(reactor_, registry.home(), at_home);
  reporting_error_ = false;
}

}  // namespace holdfast::nvmf::target

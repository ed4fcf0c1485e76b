#include <bit>
#include <utility>

#include "base/log.h"
#include "nvme/status.h"
#include "nvmf/initiator/queue.h"

namespace holdfast::nvmf::host {
namespace {

constexpr nvme::Fault out_of_range{nvme::Fes::data_out_of_range, 0};
constexpr nvme::Fault out_of_sequence{nvme::Fes::sequence_error, 0};
constexpr nvme::Fault too_many{nvme::Fes::data_limit_exceeded, 0};  // from a host: R2T limit exceeded

constexpr nvme::Fault bad_field(std::uint32_t offset) noexcept {
  return {nvme::Fes::invalid_header_field, offset};
}

}  // namespace

bool was_damaged(const Command& command) noexcept {
  if (command.end != CommandEnd::completed) return false;
  const auto status = nvme::CommandStatus::unpack(command.cqe.status);
  return status.code == nvme::StatusCode::transient_transport_error && !status.dnr;
}

Task<void> Queue::receive() {
  while (!dead_) {
    if (rx_.data_done() && !take_pdus()) break;
    if (dead_) break;
    if (wants_large_staging_ && rx_.data_done()) grow_staging();
    const auto n = co_await stream_->receive(rx_.room());
    if (!n.ok() || n.value() == 0) {
      fail(n.ok() ? Error(Errc::not_connected, "closed by the target") : n.error());
      break;
    }
    rx_.filled(n.value());
    if (arriving_ != nullptr && rx_.data_done()) data_arrived();
  }
  arriving_ = nullptr;
}

// Everything that has arrived. False: the connection is over.
bool Queue::take_pdus() noexcept {
  for (;;) {
    switch (rx_.next()) {
      case tcp::PduReceiver::Next::starved:
        return true;
      case tcp::PduReceiver::Next::fault:
        if (nvme::is_ignored(load<nvme::CommonHeader>(rx_.head()), rx_.fault())) {
          fail(Error(Errc::protocol, "a terminate request of a wrong length"));
          return false;
        }
        return breach(rx_.fault(), "a malformed PDU");
      case tcp::PduReceiver::Next::pdu:
        if (!take_pdu()) return false;
        if (!rx_.data_done()) return true;
        break;
    }
  }
}

bool Queue::take_pdu() noexcept {
  switch (rx_.shape().type) {
    case nvme::PduType::capsule_resp:
      return take_response(rx_.header<nvme::CapsuleResp>());
    case nvme::PduType::c2h_data:
      return take_data(rx_.header<nvme::C2hData>());
    case nvme::PduType::r2t:
      return take_r2t(rx_.header<nvme::R2t>());
    case nvme::PduType::c2h_term_req: {
      const auto fes = static_cast<nvme::Fes>(rx_.header<nvme::TermReq>().fes.get());
      fail(Error(Errc::protocol, std::string("the target ended the connection: ") + nvme::name(fes)));
      return false;
    }
    case nvme::PduType::ic_req:
    case nvme::PduType::ic_resp:
    case nvme::PduType::h2c_term_req:
    case nvme::PduType::capsule_cmd:
    case nvme::PduType::h2c_data:
      break;  // the receiver does not let them through
  }
  return breach(out_of_sequence, "a PDU that controllers do not send");
}

Command* Queue::find(std::uint16_t cid) const noexcept {
  const std::size_t index = cid & ((1u << slot_bits_) - 1u);
  if (index >= slots_.size()) return nullptr;
  Command* command = slots_[index].command;
  return command != nullptr && command->cid == cid && !command->answered ? command : nullptr;
}

bool Queue::take_response(const nvme::CapsuleResp& pdu) noexcept {
  Command* command = find(pdu.rccqe.cid);
  if (command == nullptr)
    return breach(bad_field(offsetof(nvme::CapsuleResp, rccqe) + offsetof(nvme::Cqe, cid)),
                  "a response to no command in flight");
  const bool ok = nvme::CommandStatus::unpack(pdu.rccqe.status).ok();
  // A command that succeeded has moved all of its data.
  if (ok && command->transfer != Transfer::none && command->moved != command->length)
    return breach(out_of_sequence, "a command succeeded before its data was moved");
  end_completed(*command, pdu.rccqe);
  return true;
}

// What the target calls a success is none when data was damaged on its way (NVMe/TCP 1.0, section 3.5).
void Queue::end_completed(Command& command, const nvme::Cqe& cqe) noexcept {
  command.end = CommandEnd::completed;
  command.cqe = cqe;
  if (command.damaged && nvme::CommandStatus::unpack(cqe.status).ok())
    command.cqe.status = nvme::CommandStatus(nvme::StatusCode::transient_transport_error).pack();
  answer(command);
}

bool Queue::take_r2t(const nvme::R2t& pdu) noexcept {
  Command* command = find(pdu.cccid);
  if (command == nullptr)
    return breach(bad_field(offsetof(nvme::R2t, cccid)), "an R2T for no command in flight");
  if (command->transfer != Transfer::to_controller || command->in_capsule)
    return breach(out_of_sequence, "an R2T for a command that has no data to send");
  const std::uint32_t offset = pdu.r2to, bytes = pdu.r2tl;
  // In order, and never the same bytes twice: what is asked for is bounded by the command.
  if (offset != command->moved) return breach(out_of_sequence, "an R2T out of order");
  if (bytes == 0 || bytes > command->length - command->moved)
    return breach(bad_field(offsetof(nvme::R2t, r2tl)), "an R2T for nothing, or beyond its command");
  // So what one command queues stays bounded, however small the pieces are that it is asked for.
  if (too_many_r2ts(*command)) return breach(too_many, "more R2Ts than were agreed to");
  command->moved += bytes;
  send_data(*command, pdu.ttag, offset, bytes);
  command->r2t_ends[command->r2ts++ % r2ts_max] = tx_.queued_count();
  return true;
}

// Besides r2ts_max others that are outstanding. What is being sent may be with the target already, so that it is
// right to ask for more; what waits to be sent is not.
bool Queue::too_many_r2ts(const Command& command) const noexcept {
  return command.r2ts >= r2ts_max && command.r2t_ends[command.r2ts % r2ts_max] > tx_.begun_count();
}

bool Queue::take_data(const nvme::C2hData& pdu) noexcept {
  const bool success = (pdu.ch.flags & nvme::flag_success) != 0;
  const bool last = (pdu.ch.flags & nvme::flag_last_pdu) != 0;
  if (success && !last)
    return breach(bad_field(offsetof(nvme::CommonHeader, flags)), "C2HData with SUCCESS but not LAST_PDU");
  Command* command = find(pdu.cccid);
  if (command == nullptr)
    return breach(bad_field(offsetof(nvme::C2hData, cccid)), "data for no command in flight");
  if (command->transfer != Transfer::to_host)
    return breach(out_of_sequence, "data for a command that reads none");
  if (command->data_over) return breach(out_of_sequence, "C2HData behind the last of its command");
  const std::uint32_t bytes = rx_.shape().data_bytes;
  if (pdu.datal != bytes)
    return breach(bad_field(offsetof(nvme::C2hData, datal)), "C2HData whose lengths disagree");
  if (std::uint64_t{pdu.datao} + bytes > command->length)
    return breach(out_of_range, "C2HData beyond its command");
  if (pdu.datao != command->moved) return breach(out_of_sequence, "C2HData out of order");
  if (success && bytes != command->length - command->moved)
    return breach(out_of_sequence, "C2HData with SUCCESS that is not the last of its command");
  command->data_over = last;
  arriving_ = command;
  arriving_flags_ = pdu.ch.flags;
  if (rx_.begin_data(tcp::IoSlice(command->data, command->offset + command->moved, bytes))) data_arrived();
  return true;
}

void Queue::data_arrived() noexcept {
  Command& command = *std::exchange(arriving_, nullptr);
  if (!rx_.data_digest_ok()) {
    // The target goes on with the command, so it keeps its memory and its slot until the target is done.
    command.damaged = true;
    if (std::has_single_bit(++damaged_pdus_)) {
      HF_LOG(warn, "nvmf", "data digest error", {"peer", options_.to.to_string()},
             {"on this connection", damaged_pdus_});
    }
  }
  command.moved += rx_.shape().data_bytes;
  if ((arriving_flags_ & nvme::flag_success) == 0) return;
  nvme::Cqe cqe{};
  cqe.cid = command.cid;
  end_completed(command, cqe);
}

}  // namespace holdfast::nvmf::host

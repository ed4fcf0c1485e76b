// Controller: admin and Fabrics commands.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "nvme/fabrics.h"
#include "nvme/feature.h"
#include "nvme/vendor.h"
#include "nvmf/target/controller.h"
#include "nvmf/target/subsystem.h"

namespace holdfast::nvmf::target {

using nvme::AdminOpcode;
using nvme::CommandStatus;
using nvme::FabricsType;
using nvme::Feature;
using nvme::permanent;
using nvme::Property;
using nvme::StatusCode;

AdminTransfer admin_transfer(const nvme::Sqe& sqe) noexcept {
  if (nvme::is_vendor_opcode(sqe.opc)) return vendor_transfer(sqe);
  AdminTransfer t;
  const auto feature = static_cast<Feature>(sqe.cdw10 & 0xff);
  switch (static_cast<AdminOpcode>(sqe.opc)) {
    case AdminOpcode::identify:
      t.to_host = nvme::identify_bytes;
      break;
    case AdminOpcode::get_log_page: {
      const auto args = nvme::LogPageArgs::unpack(sqe.cdw10, sqe.cdw11, sqe.cdw12, sqe.cdw13, sqe.cdw14);
      if (args.bytes > transfer_bytes_max) {
        t.status = permanent(StatusCode::invalid_field);
      } else {
        t.to_host = static_cast<std::uint32_t>(args.bytes);
      }
      break;
    }
    case AdminOpcode::get_features:
      // The capabilities of a feature are in the response, whatever its data.
      if (static_cast<nvme::FeatureSelect>(sqe.cdw10 >> 8 & 7) == nvme::FeatureSelect::capabilities) break;
      if (feature == Feature::host_behavior_support) t.to_host = sizeof(nvme::HostBehavior);
      if (feature == Feature::timestamp) t.to_host = sizeof(nvme::Timestamp);
      if (feature == Feature::host_identifier) t.to_host = (sqe.cdw11 & 1) != 0 ? 16 : 8;
      break;
    case AdminOpcode::set_features:
      if (feature == Feature::host_behavior_support) t.to_controller = sizeof(nvme::HostBehavior);
      if (feature == Feature::timestamp) t.to_controller = sizeof(nvme::Timestamp);
      break;
    case AdminOpcode::delete_io_sq:
    case AdminOpcode::create_io_sq:
    case AdminOpcode::delete_io_cq:
    case AdminOpcode::create_io_cq:
    case AdminOpcode::abort:
    case AdminOpcode::async_event_request:
    case AdminOpcode::namespace_management:
    case AdminOpcode::firmware_commit:
    case AdminOpcode::firmware_download:
    case AdminOpcode::namespace_attachment:
    case AdminOpcode::keep_alive:
    case AdminOpcode::fabrics:
      break;
  }
  return t;
}

Task<AdminReply> Controller::admin(const AdminCall& call) {
  last_traffic_ = home().now();
  const auto opcode = static_cast<AdminOpcode>(call.sqe.opc);
  if (opcode == AdminOpcode::fabrics) co_return fabrics(call);
  if (!cc_.en) co_return permanent(StatusCode::command_sequence_error);
  if (nvme::is_vendor_opcode(call.sqe.opc)) {
    const AdminReply reply = co_await vendor(*this, call.sqe, call.data);
    co_return reply;
  }
  switch (opcode) {
    case AdminOpcode::identify:
      co_return identify(*this, call.sqe, call.data);
    case AdminOpcode::get_log_page: {
      const CommandStatus status = co_await target::get_log_page(*this, call.sqe, call.data);
      co_return status;
    }
    case AdminOpcode::get_features:
      co_return target::get_features(*this, call.sqe, call.data);
    case AdminOpcode::set_features: {
      if (!nvme::is_reservation_feature(call.sqe)) {
        co_return target::set_features(*this, call.sqe, call.data);
      }
      const AdminReply reply = co_await set_reservation_feature(*this, call.sqe);
      co_return reply;
    }
    case AdminOpcode::async_event_request:
      co_return async_event_request(call);
    case AdminOpcode::keep_alive:
      co_return CommandStatus();
    case AdminOpcode::abort: {
      const AdminReply reply = co_await abort(call);
      co_return reply;
    }
    // Not offered: identify and the effects log say so.
    case AdminOpcode::delete_io_sq:
    case AdminOpcode::create_io_sq:
    case AdminOpcode::delete_io_cq:
    case AdminOpcode::create_io_cq:
    case AdminOpcode::namespace_management:
    case AdminOpcode::firmware_commit:
    case AdminOpcode::firmware_download:
    case AdminOpcode::namespace_attachment:
    case AdminOpcode::fabrics:
      break;
  }
  co_return permanent(StatusCode::invalid_command_opcode);
}

AdminReply Controller::fabrics(const AdminCall& call) {
  switch (static_cast<FabricsType>(nvme::as<nvme::FabricsCmd>(call.sqe).fctype)) {
    case FabricsType::property_get:
      return property_get(call);
    case FabricsType::property_set:
      return property_set(call);
    case FabricsType::disconnect:
      return permanent(StatusCode::invalid_queue_type);  // of the admin queue
    case FabricsType::connect:                           // the connection answers
    case FabricsType::authentication_send:
    case FabricsType::authentication_receive:
      break;
  }
  return permanent(StatusCode::invalid_field);  // the opcode is known, FCTYPE is what is wrong
}

AdminReply Controller::property_get(const AdminCall& call) {
  const auto cmd = nvme::as<nvme::PropertyGetCmd>(call.sqe);
  const bool is_8_bytes = (cmd.attrib & 7) == 1;
  const std::uint32_t offset = cmd.ofst;
  const auto property = static_cast<Property>(offset);
  if ((cmd.attrib & 7) > 1 || is_8_bytes != (property == Property::cap))
    return permanent(StatusCode::invalid_field);
  switch (property) {
    case Property::cap:
      return AdminReply(CommandStatus(), cap_.pack());
    case Property::vs:
      return AdminReply(CommandStatus(), nvme::version_2_0);
    case Property::cc:
      return AdminReply(CommandStatus(), cc_.pack());
    case Property::csts:
      return AdminReply(CommandStatus(), status().pack());
    case Property::crto:
      return AdminReply(CommandStatus(), cap_.to);  // CRWMT, as CAP.TO
    case Property::nssr:
      break;  // CAP.NSSRS is zero
  }
  return permanent(StatusCode::invalid_field);
}

// After a reset the controller is ready until its I/O queues have ended: a host that sees it not ready relies
// on no command of before being executed any more (NVMe Base 2.0, section 3.7.2).
nvme::Csts Controller::status() const noexcept {
  nvme::Csts csts = csts_;
  csts.rdy = csts.rdy || (!cc_.en && has_io_queues());
  return csts;
}

AdminReply Controller::property_set(const AdminCall& call) {
  const auto cmd = nvme::as<nvme::PropertySetCmd>(call.sqe);
  const std::uint32_t offset = cmd.ofst;
  if ((cmd.attrib & 7) != 0 || static_cast<Property>(offset) != Property::cc) {
    return permanent(StatusCode::invalid_field);
  }
  return configure(nvme::Cc::unpack(static_cast<std::uint32_t>(cmd.value)));
}

// A new value of CC (NVMe Base 2.0, sections 3.1.3.5, 3.5 and 3.6).
AdminReply Controller::configure(nvme::Cc cc) {
  const nvme::Cc old = std::exchange(cc_, cc);
  if (cc.en && !old.en) {
    // Discovery controllers have no I/O queues, so hosts leave those sizes zero.
    const bool entry_sizes = is_discovery() || (cc.iosqes == 6 && cc.iocqes == 4);
    const bool command_set = cc.css == nvme::cc_css_nvm || cc.css == nvme::cc_css_all;
    if (!command_set || cc.mps != 0 || cc.ams != 0 || !entry_sizes) {
      if (!std::exchange(refused_cc_, true)) {  // one line, however often the host tries
        const Queue* queue = find_queue(0);
        HF_LOG(warn, "nvmf", "host enables the controller in a way that it does not support",
               {"host", host_.nqn}, {"peer", queue != nullptr ? queue->peer.to_string() : ""},
               {"cc", cc.pack()});
      }
      csts_.cfs = true;
      return CommandStatus();
    }
    csts_ = nvme::Csts{true, false, nvme::ShutdownStatus::none};
    home().disarm(association_);
  }
  if (!cc.en && old.en) reset();
  if (cc.shn != nvme::ShutdownNotice::none && old.shn != cc.shn) {
    csts_.shst = nvme::ShutdownStatus::occurring;
    disconnect_io_queues();
    watch_association();
    begin_shut_down(cc.shn);
  }
  return CommandStatus();
}

AdminReply Controller::async_event_request(const AdminCall& call) {
  if (parked_.size() >= async_event_requests_max) return permanent(StatusCode::async_event_limit_exceeded);
  parked_.push_back(ParkedEvent{call.tag, call.sqe.cid});
  pump();
  AdminReply reply;
  reply.parked = true;
  return reply;
}

}  // namespace holdfast::nvmf::target

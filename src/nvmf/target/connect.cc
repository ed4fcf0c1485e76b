// Subsystem: Connect (NVMe Base 2.0, section 6.3): makes controllers, and gives them their I/O queues.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "nvmf/target/subsystem.h"

namespace holdfast::nvmf::target {

using nvme::CommandStatus;
using nvme::permanent;
using nvme::StatusCode;

namespace {

constexpr Nanos ended_wait_max = 5s;  // less than connect_timeout

CommandStatus refuse(StatusCode code, std::uint32_t& dw0, std::size_t offset, bool in_data) {
  dw0 = nvme::ConnectError{static_cast<std::uint16_t>(offset), in_data}.pack();
  return permanent(code);
}

Uuid host_id_of(const nvme::ConnectData& data) {
  Uuid id;
  std::copy(std::begin(data.hostid), std::end(data.hostid), id.bytes.begin());
  return id;
}

}  // namespace

Task<ConnectReply> Subsystem::connect(ConnectCall& call, std::string_view host_nqn) {
  const Gate::Hold hold = gate_.enter();
  HF_ASSERT(hold);  // Registry::connect asked closing()
  ConnectReply reply;
  if (call.cmd.qid != 0) {
    reply = co_await connect_io(call, host_nqn);
  } else if (!co_await wait_ended(std::string(host_nqn), host_id_of(call.data))) {
    reply.status = StatusCode::connect_controller_busy;
  } else if (!allows(host_nqn)) {  // any more: it was excluded while it waited
    reply.status =
        refuse(StatusCode::connect_invalid_host, reply.dw0, offsetof(nvme::ConnectData, hostnqn), true);
  } else {
    reply = connect_admin(call, host_nqn);
  }
  co_return reply;
}

// A host that comes back does not overtake itself: commands of its controllers that have ended, which a slow
// device still executes, end before it gets a new controller. False: that takes too long.
Task<bool> Subsystem::wait_ended(std::string host_nqn, Uuid host_id) {
  const Nanos deadline = registry_.home().now() + ended_wait_max;
  const auto ends = [&](const auto& entry) {
    const Controller& c = *entry.second;
    return c.ending() && c.host_nqn() == host_nqn && c.host_id() == host_id;
  };
  while (std::any_of(controllers_.begin(), controllers_.end(), ends)) {
    if (registry_.home().now() >= deadline) co_return false;
    (void)co_await controller_gone_.wait(deadline);
  }
  co_return true;
}

// Identifiers are given in turn, so that a host meets a new one after a reconnect; 0 when all are taken.
std::uint16_t Subsystem::free_cntlid() noexcept {
  const std::uint32_t window = config_.cntlid_max - config_.cntlid_min + 1u;
  for (std::uint32_t i = 0; i < window; ++i) {
    const auto id = static_cast<std::uint16_t>(next_cntlid_);
    next_cntlid_ = id == config_.cntlid_max ? config_.cntlid_min : id + 1u;
    if (!controllers_.contains(id)) return id;
  }
  return 0;
}

ConnectReply Subsystem::connect_admin(ConnectCall& call, std::string_view host_nqn) {
  ConnectReply reply;
  if (call.data.cntlid != nvme::cntlid_dynamic) {
    reply.status =
        refuse(StatusCode::connect_invalid_parameters, reply.dw0, offsetof(nvme::ConnectData, cntlid), true);
    return reply;
  }
  const std::uint16_t cntlid = free_cntlid();
  if (cntlid == 0) {
    reply.status = StatusCode::connect_controller_busy;
    return reply;
  }
  Controller::Host host{std::string(host_nqn), host_id_of(call.data)};
  auto made = std::make_unique<Controller>(*this, cntlid, std::move(host), call.cmd.kato);
  Controller& controller = *made;
  controllers_.emplace(cntlid, std::move(made));
  controller.add_queue(call);
  if (const auto left_out = registry_.log_limiter().admit(registry_.home().now())) {
    HF_LOG(info, "nvmf", "controller made", {"nqn", config_.nqn}, {"host", host_nqn}, {"cntlid", cntlid},
           {"peer", call.peer.to_string()}, {"left_out", *left_out});
  }
  reply.dw0 = cntlid;
  reply.queue.controller = &controller;
  return reply;
}

CommandStatus Subsystem::judge_io_connect(const ConnectCall& call, std::string_view host_nqn,
                                          Controller*& controller, std::uint32_t& dw0) {
  const auto it = controllers_.find(call.data.cntlid);
  if (is_discovery() || call.cmd.qid > registry_.config().io_queues_max) {
    return refuse(StatusCode::connect_invalid_parameters, dw0, offsetof(nvme::ConnectCmd, qid), false);
  }
  if (it == controllers_.end() || it->second->ending()) {
    return refuse(StatusCode::connect_invalid_parameters, dw0, offsetof(nvme::ConnectData, cntlid), true);
  }
  controller = it->second.get();
  if (controller->host_nqn() != host_nqn) {
    return refuse(StatusCode::connect_invalid_parameters, dw0, offsetof(nvme::ConnectData, hostnqn), true);
  }
  if (controller->host_id() != host_id_of(call.data)) {
    return refuse(StatusCode::connect_invalid_parameters, dw0, offsetof(nvme::ConnectData, hostid), true);
  }
  if (call.cmd.qid > controller->io_queues_max()) {
    return refuse(StatusCode::connect_invalid_parameters, dw0, offsetof(nvme::ConnectCmd, qid), false);
  }
  if (!controller->enabled() || controller->shutting_down() || controller->has_queue(call.cmd.qid)) {
    return permanent(StatusCode::command_sequence_error);
  }
  return {};
}

Task<ConnectReply> Subsystem::connect_io(ConnectCall& call, std::string_view host_nqn) {
  ConnectReply reply;
  Controller* controller = nullptr;
  reply.status = judge_io_connect(call, host_nqn, controller, reply.dw0);
  if (!reply.status.ok()) co_return reply;
  SubsystemView* view = nullptr;
  {
    const Semaphore::Permit lock = co_await lock_.acquire();
    view = co_await view_on(call.core);
  }
  // Judged again: the controller may have ended while the channels were opened.
  reply.status = judge_io_connect(call, host_nqn, controller, reply.dw0);
  if (!reply.status.ok()) co_return reply;
  controller->add_queue(call);
  reply.dw0 = controller->cntlid();
  reply.queue.controller = controller;
  reply.queue.view = view;
  reply.queue.host_id = controller->host_id();
  reply.queue.qid = call.cmd.qid;
  reply.queue.retry_delays = controller->features().acre != 0;
  co_return reply;
}

}  // namespace holdfast::nvmf::target

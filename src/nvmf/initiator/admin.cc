#include "nvmf/initiator/admin.h"

#include <algorithm>

#include "nvme/errc_status.h"
#include "nvme/status.h"

namespace holdfast::nvmf::host {
namespace {

using nvme::AdminOpcode;
using nvme::CommandStatus;

constexpr std::uint8_t fabrics_opcode = static_cast<std::uint8_t>(AdminOpcode::fabrics);
constexpr std::uint16_t no_flow_control = 0xffff;  // SQHD of a Connect that agreed (NVMe Base 2.0, 6.3)
constexpr Nanos poll_interval = 10ms;

std::string status_text(const CommandStatus& status) {
  constexpr char digits[] = "0123456789abcdef";
  const auto value = static_cast<unsigned>(status.code);
  std::string hex{digits[value >> 8 & 15], digits[value >> 4 & 15], digits[value & 15]};
  return std::string(nvme::name(status.code)) + " (status " + hex + "h)";
}

Error connect_error(const Queue& queue, const Command& command, const ConnectArgs& args) {
  if (command.end != CommandEnd::completed) return command_error(queue, command, "Connect");
  const CommandStatus status = CommandStatus::unpack(command.cqe.status);
  const std::string context = "Connect to '" + args.subnqn + "' as '" + args.hostnqn + "' was refused: ";
  switch (status.code) {
    case nvme::StatusCode::connect_invalid_parameters:
      return Error(Errc::not_found, context +
                                        "the target does not know this subsystem, or a parameter is wrong, " +
                                        status_text(status));
    case nvme::StatusCode::connect_invalid_host:
      return Error(Errc::not_found, context + "this host is not allowed, " + status_text(status));
    case nvme::StatusCode::connect_controller_busy:
      return Error(Errc::busy, context + status_text(status));
    default:
      return Error(nvme::to_errc(status), context + status_text(status));
  }
}

bool wants_flow_control(const Command& command) {
  if (command.end != CommandEnd::completed) return false;
  const CommandStatus status = CommandStatus::unpack(command.cqe.status);
  return status.code == nvme::StatusCode::invalid_field;
}

nvme::ConnectCmd make_connect(const ConnectArgs& args, bool flow_control) {
  nvme::ConnectCmd cmd{};
  cmd.opc = fabrics_opcode;
  cmd.fctype = static_cast<std::uint8_t>(nvme::FabricsType::connect);
  cmd.qid = args.qid;
  cmd.sqsize = static_cast<std::uint16_t>(args.entries - 1);
  cmd.cattr = flow_control ? 0 : nvme::ConnectCmd::cattr_no_sq_flow_control;
  cmd.kato = static_cast<std::uint32_t>(args.keep_alive / 1ms);
  return cmd;
}

// As Queue::issue(). Gives how often the command was sent again because its data was damaged on its way: all that
// we send may happen twice.
Task<unsigned> issue(Queue& queue, Command& command) {
  for (unsigned repeated = 0;; ++repeated) {
    co_await queue.issue(command);
    if (!was_damaged(command)) co_return repeated;
    if (repeated + 1 < damaged_tries_max) continue;
    queue.fail(Error(Errc::protocol, "data is damaged on its way"));
    co_return repeated;
  }
}

bool is_ready(const nvme::Csts& csts) { return csts.rdy && !csts.cfs; }
bool is_not_ready(const nvme::Csts& csts) { return !csts.rdy; }
bool is_shut_down(const nvme::Csts& csts) { return csts.shst == nvme::ShutdownStatus::complete; }

}  // namespace

Error command_error(const Queue& queue, const Command& command, const char* what) {
  switch (command.end) {
    case CommandEnd::lost:
      return queue.why().with_context(what);
    case CommandEnd::timed_out:
      return Error(Errc::timed_out, std::string(what) + ": no answer in time");
    case CommandEnd::completed:
      break;
  }
  const CommandStatus status = CommandStatus::unpack(command.cqe.status);
  const Errc code = nvme::to_errc(status);
  return Error(code == Errc::ok ? Errc::internal : code, std::string(what) + ": " + status_text(status));
}

Task<Result<Connected>> fabrics_connect(Queue& queue, ConnectArgs args, Nanos timeout) {
  nvme::ConnectData data{};
  std::copy(args.hostid.bytes.begin(), args.hostid.bytes.end(), data.hostid);
  data.cntlid = args.cntlid;
  nvme::nqn_to_field(args.subnqn, data.subnqn);
  nvme::nqn_to_field(args.hostnqn, data.hostnqn);
  IoVec vec{reinterpret_cast<std::byte*>(&data), sizeof data};
  bool flow_control = false;
  for (;;) {
    Command command;
    command.sqe = nvme::to_sqe(make_connect(args, flow_control));
    command.transfer = Transfer::to_controller;
    command.length = sizeof data;
    command.data = IoVecs(&vec, 1);
    command.timeout = timeout;
    (void)co_await issue(queue, command);
    const bool ok = command.end == CommandEnd::completed && CommandStatus::unpack(command.cqe.status).ok();
    if (ok) {
      const auto cntlid = static_cast<std::uint16_t>(command.cqe.result.get());
      co_return Connected{cntlid, command.cqe.sqhd.get() != no_flow_control};
    }
    if (flow_control || !wants_flow_control(command)) co_return connect_error(queue, command, args);
    flow_control = true;
  }
}

Task<Result<nvme::Cqe>> Admin::run(Command& command, const char* what) {
  if (command.timeout == no_deadline) command.timeout = timeout_;
  repeated_ += co_await issue(queue_, command);
  if (command.end != CommandEnd::completed || !CommandStatus::unpack(command.cqe.status).ok())
    co_return command_error(queue_, command, what);
  co_return command.cqe;
}

Task<Result<std::uint64_t>> Admin::property_get(nvme::Property property) {
  nvme::PropertyGetCmd cmd{};
  cmd.opc = fabrics_opcode;
  cmd.fctype = static_cast<std::uint8_t>(nvme::FabricsType::property_get);
  cmd.attrib = property == nvme::Property::cap ? 1 : 0;
  cmd.ofst = static_cast<std::uint32_t>(property);
  Command command;
  command.sqe = nvme::to_sqe(cmd);
  HF_CO_TRY(const nvme::Cqe cqe, co_await run(command, "Property Get"));
  co_return cqe.result.get();
}

Task<Status> Admin::property_set(nvme::Property property, std::uint64_t value) {
  nvme::PropertySetCmd cmd{};
  cmd.opc = fabrics_opcode;
  cmd.fctype = static_cast<std::uint8_t>(nvme::FabricsType::property_set);
  cmd.ofst = static_cast<std::uint32_t>(property);
  cmd.value = value;
  Command command;
  command.sqe = nvme::to_sqe(cmd);
  HF_CO_CHECK(co_await run(command, "Property Set"));
  co_return Status();
}

Task<Status> Admin::identify(nvme::Cns cns, std::uint32_t nsid, std::uint8_t csi, std::span<std::byte> into) {
  HF_ASSERT(into.size() == nvme::identify_bytes);
  const IoVec vec{into.data(), into.size()};
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(AdminOpcode::identify);
  command.sqe.nsid = nsid;
  command.sqe.cdw10 = static_cast<std::uint32_t>(cns);
  command.sqe.cdw11 = std::uint32_t{csi} << 24;
  command.transfer = Transfer::to_host;
  command.length = nvme::identify_bytes;
  command.data = IoVecs(&vec, 1);
  HF_CO_CHECK(co_await run(command, "Identify"));
  co_return Status();
}

Task<Status> Admin::log_page(nvme::LogPage page, std::uint32_t nsid, std::uint64_t offset, bool retain_event,
                             std::span<std::byte> into) {
  HF_ASSERT(!into.empty() && into.size() % 4 == 0);
  const IoVec vec{into.data(), into.size()};
  const auto numd = static_cast<std::uint32_t>(into.size() / 4 - 1);
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(AdminOpcode::get_log_page);
  command.sqe.nsid = nsid;
  command.sqe.cdw10 =
      static_cast<std::uint32_t>(page) | std::uint32_t{retain_event} << 15 | (numd & 0xffff) << 16;
  command.sqe.cdw11 = numd >> 16;
  command.sqe.cdw12 = static_cast<std::uint32_t>(offset);
  command.sqe.cdw13 = static_cast<std::uint32_t>(offset >> 32);
  command.transfer = Transfer::to_host;
  command.length = static_cast<std::uint32_t>(into.size());
  command.data = IoVecs(&vec, 1);
  HF_CO_CHECK(co_await run(command, "Get Log Page"));
  co_return Status();
}

Task<Result<std::uint32_t>> Admin::set_features(nvme::Feature feature, std::uint32_t cdw11) {
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(AdminOpcode::set_features);
  command.sqe.cdw10 = static_cast<std::uint32_t>(feature);
  command.sqe.cdw11 = cdw11;
  HF_CO_TRY(const nvme::Cqe cqe, co_await run(command, "Set Features"));
  co_return static_cast<std::uint32_t>(cqe.result.get());
}

Task<void> Admin::accept_retry_delays() {
  nvme::HostBehavior behavior{};
  behavior.acre = 1;
  const IoVec vec{reinterpret_cast<std::byte*>(&behavior), sizeof behavior};
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(AdminOpcode::set_features);
  command.sqe.cdw10 = static_cast<std::uint32_t>(nvme::Feature::host_behavior_support);
  command.transfer = Transfer::to_controller;
  command.length = sizeof behavior;
  command.data = IoVecs(&vec, 1);
  const auto set = co_await run(command, "Set Features");
  set.ignore("then it names no delays");
}

Task<Status> Admin::keep_alive() {
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(AdminOpcode::keep_alive);
  HF_CO_CHECK(co_await run(command, "Keep Alive"));
  co_return Status();
}

Task<Status> Admin::abort(std::uint16_t sqid, std::uint16_t cid) {
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(AdminOpcode::abort);
  command.sqe.cdw10 = sqid | std::uint32_t{cid} << 16;
  HF_CO_CHECK(co_await run(command, "Abort"));
  co_return Status();
}

Task<Status> Admin::vendor(const VendorCommand& wanted, std::uint32_t nsid) {
  HF_ASSERT(wanted.data.size() % 4 == 0);
  const IoVec vec{wanted.data.data(), wanted.data.size()};
  Command command;
  command.sqe = wanted.sqe;
  command.sqe.nsid = nsid;
  command.sqe.cdw10 = static_cast<std::uint32_t>(wanted.data.size() / 4);
  switch (static_cast<nvme::VendorOpcode>(wanted.sqe.opc)) {
    case nvme::VendorOpcode::act:
      break;
    case nvme::VendorOpcode::put:
      command.transfer = Transfer::to_controller;
      break;
    case nvme::VendorOpcode::get:
      command.transfer = Transfer::to_host;
      break;
  }
  command.length = static_cast<std::uint32_t>(wanted.data.size());
  if (command.length > 0) command.data = IoVecs(&vec, 1);
  command.timeout = timeout_;
  repeated_ += co_await issue(queue_, command);
  if (command.end == CommandEnd::lost)
    co_return Error(Errc::not_connected, command_error(queue_, command, wanted.what).message());
  if (command.end != CommandEnd::completed) co_return command_error(queue_, command, wanted.what);
  const CommandStatus status = CommandStatus::unpack(command.cqe.status);
  if (status.ok()) co_return Status();
  co_return Error(nvme::vendor_errc(status), std::string(wanted.what) + ": " + status_text(status));
}

Task<Result<nvme::AsyncEvent>> Admin::next_event() {
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(AdminOpcode::async_event_request);
  co_await queue_.issue(command);
  if (command.end != CommandEnd::completed || !CommandStatus::unpack(command.cqe.status).ok())
    co_return command_error(queue_, command, "Asynchronous Event Request");
  co_return nvme::AsyncEvent::unpack(static_cast<std::uint32_t>(command.cqe.result.get()));
}

Task<Status> Admin::wait_status(Nanos bound, bool (*reached)(const nvme::Csts&), const char* what) {
  Reactor& reactor = queue_.reactor();
  const Nanos deadline = reactor.now() + bound;
  for (;;) {
    HF_CO_TRY(const std::uint64_t value, co_await property_get(nvme::Property::csts));
    const nvme::Csts csts = nvme::Csts::unpack(static_cast<std::uint32_t>(value));
    if (reached(csts)) co_return Status();
    if (csts.cfs) co_return Error(Errc::io_error, std::string(what) + ": the controller failed (CSTS.CFS)");
    if (reactor.now() >= deadline)
      co_return Error(Errc::timed_out, std::string(what) + ": the controller took too long");
    co_await reactor.sleep(poll_interval);
  }
}

Task<Status> Admin::enable(const nvme::Cap& cap) {
  nvme::Cc cc{};
  cc.en = true;
  cc.mps = cap.mpsmin;
  cc.iosqes = 6;
  cc.iocqes = 4;
  HF_CO_CHECK(co_await property_set(nvme::Property::cc, cc.pack()));
  const Nanos bound = std::max<Nanos>(500ms * cap.to, 500ms);
  co_return co_await wait_status(bound, is_ready, "enable");
}

Task<Status> Admin::reset(Nanos bound) {
  HF_CO_CHECK(co_await property_set(nvme::Property::cc, 0));
  co_return co_await wait_status(bound, is_not_ready, "controller reset");
}

Task<Status> Admin::shut_down(Nanos bound) {
  HF_CO_TRY(const std::uint64_t value, co_await property_get(nvme::Property::cc));
  nvme::Cc cc = nvme::Cc::unpack(static_cast<std::uint32_t>(value));
  cc.shn = nvme::ShutdownNotice::normal;
  HF_CO_CHECK(co_await property_set(nvme::Property::cc, cc.pack()));
  co_return co_await wait_status(bound, is_shut_down, "shutdown");
}

}  // namespace holdfast::nvmf::host

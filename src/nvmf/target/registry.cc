#include "nvmf/target/registry.h"

#include <algorithm>
#include <utility>

#include "nvmf/target/controller.h"
#include "nvmf/target/subsystem.h"

namespace holdfast::nvmf::target {
namespace {

SubsystemConfig discovery_config() {
  SubsystemConfig config;
  config.nqn = nvme::discovery_nqn;
  config.serial = "discovery";
  config.model = "Holdfast discovery controller";
  config.ana_reporting = false;
  return config;
}

bool is_printable_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

bool is_nil_host(const nvme::ConnectData& data) {
  return std::all_of(std::begin(data.hostid), std::end(data.hostid), [](std::uint8_t b) { return b == 0; });
}

Status judge(const SubsystemConfig& c) {
  if (!nvme::is_valid_nqn(c.nqn)) {
    return Error(Errc::invalid_argument, "not an NQN (\"nqn.\" and at most 223 characters): " + c.nqn);
  }
  if (c.serial.empty() || c.serial.size() > 20 || !is_printable_ascii(c.serial)) {
    return Error(Errc::invalid_argument, "serial number is not 1 to 20 ASCII characters: " + c.serial);
  }
  if (c.model.size() > 40 || !is_printable_ascii(c.model)) {
    return Error(Errc::invalid_argument, "model is not at most 40 ASCII characters: " + c.model);
  }
  if (c.cntlid_min == 0 || c.cntlid_min > c.cntlid_max || c.cntlid_max > nvme::cntlid_last) {
    return Error(Errc::invalid_argument, "controller identifiers " + std::to_string(c.cntlid_min) + " to " +
                                             std::to_string(c.cntlid_max) + " are not within 1 to 65519");
  }
  for (const std::string& host : c.allowed_hosts) {
    if (!nvme::is_valid_nqn(host)) return Error(Errc::invalid_argument, "not a host NQN: " + host);
  }
  return Status();
}

}  // namespace

Registry::Registry(const Cores& cores, const TargetConfig& config)
    : cores_(cores),
      config_(config),
      scope_(cores.home()),
      run_(Uuid::random(cores.home().random())),
      made_at_(cores.home().now()) {
  subsystems_.emplace(nvme::discovery_nqn, std::make_unique<Subsystem>(*this, discovery_config()));
}

Registry::~Registry() = default;

Subsystem* Registry::find(std::string_view nqn) noexcept {
  const auto it = subsystems_.find(nqn);
  return it == subsystems_.end() ? nullptr : it->second.get();
}

Result<Subsystem*> Registry::add(SubsystemConfig config) {
  HF_CHECK(judge(config));
  if (find(config.nqn) != nullptr) return Error(Errc::already_exists, "subsystem " + config.nqn + " exists");
  const std::string nqn = config.nqn;
  const auto added = subsystems_.emplace(nqn, std::make_unique<Subsystem>(*this, std::move(config)));
  discovery_changed();
  return added.first->second.get();
}

Task<Status> Registry::remove(std::string nqn) {
  Subsystem* subsystem = find(nqn);
  if (subsystem == nullptr || subsystem->is_discovery()) {
    co_return Error(Errc::not_found, "there is no subsystem " + nqn);
  }
  if (subsystem->closing()) co_return Error(Errc::failed_precondition, nqn + " is being removed");
  co_await subsystem->close();
  subsystems_.erase(nqn);
  discovery_changed();
  co_return Status();
}

void Registry::add_listener(const Endpoint& at) {
  const auto id = static_cast<std::uint16_t>(listeners_.size() + 1);
  listeners_.push_back(ListenAddress{at, id});
  discovery_changed();
}

Status Registry::add_referral(Referral referral) {
  const std::string name = referral.at.to_string();
  if (is_wildcard(referral.at) || referral.at.port == 0) {
    return Error(Errc::invalid_argument, "hosts cannot be sent to " + name);
  }
  if (!nvme::is_valid_nqn(referral.nqn)) return Error(Errc::invalid_argument, "not an NQN: " + referral.nqn);
  if (std::find(referrals_.begin(), referrals_.end(), referral) != referrals_.end()) {
    return Error(Errc::already_exists, "there is a referral to " + name);
  }
  referrals_.push_back(std::move(referral));
  discovery_changed();
  return Status();
}

Status Registry::remove_referral(const Referral& referral) {
  if (std::erase(referrals_, referral) == 0) {
    return Error(Errc::not_found, "there is no referral to " + referral.at.to_string());
  }
  discovery_changed();
  return Status();
}

void Registry::discovery_changed() {
  ++discovery_generation_;
  const Subsystem& discovery = *subsystems_.find(nvme::discovery_nqn)->second;
  for (const auto& [cntlid, controller] : discovery.controllers()) controller->discovery_changed();
}

Task<void> Registry::close() {
  for (auto& [nqn, subsystem] : subsystems_) {
    if (!subsystem->closing()) co_await subsystem->close();
  }
  co_await scope_.join();
  subsystems_.clear();
}

Task<ConnectReply> Registry::connect(ConnectCall& call) {
  ConnectReply reply;
  const auto refuse = [&reply](nvme::StatusCode code, std::size_t offset, bool in_data) {
    reply.status = nvme::permanent(code);
    reply.dw0 = nvme::ConnectError{static_cast<std::uint16_t>(offset), in_data}.pack();
    return reply;
  };
  constexpr auto bad_parameter = nvme::StatusCode::connect_invalid_parameters;
  if (call.cmd.recfmt != 0) {
    co_return refuse(nvme::StatusCode::connect_incompatible_format, offsetof(nvme::ConnectCmd, recfmt),
                     false);
  }
  if (call.cmd.sqsize == 0 || call.cmd.sqsize >= config_.queue_entries_max) {
    co_return refuse(bad_parameter, offsetof(nvme::ConnectCmd, sqsize), false);
  }
  const auto subnqn = nvme::nqn_from_field(call.data.subnqn);
  if (!subnqn.ok()) co_return refuse(bad_parameter, offsetof(nvme::ConnectData, subnqn), true);
  // SPDK's tools may leave it empty. Such a host has no name, which is on no list of allowed hosts.
  const bool nameless = call.data.hostnqn[0] == '\0';
  const auto hostnqn =
      nameless ? Result<std::string_view>(std::string_view()) : nvme::nqn_from_field(call.data.hostnqn);
  if (!hostnqn.ok()) co_return refuse(bad_parameter, offsetof(nvme::ConnectData, hostnqn), true);
  // Reservations would take all such hosts for one (NVMe Base 2.0, section 6.3).
  if (is_nil_host(call.data)) co_return refuse(bad_parameter, offsetof(nvme::ConnectData, hostid), true);
  Subsystem* subsystem = find(subnqn.value());
  if (subsystem == nullptr || subsystem->closing()) {
    co_return refuse(bad_parameter, offsetof(nvme::ConnectData, subnqn), true);
  }
  if (!subsystem->allows(hostnqn.value())) {
    co_return refuse(nvme::StatusCode::connect_invalid_host, offsetof(nvme::ConnectData, hostnqn), true);
  }
  reply = co_await subsystem->connect(call, hostnqn.value());
  co_return reply;
}

Task<AdminReply> Registry::admin(Controller& controller, const AdminCall& call) {
  return controller.admin(call);
}

void Registry::report_error(Controller& controller, const ErrorReport& report) {
  controller.record_error(report);
}

void Registry::detach(const QueueHandle& queue) { queue.controller->remove_queue(queue.qid); }

}  // namespace holdfast::nvmf::target

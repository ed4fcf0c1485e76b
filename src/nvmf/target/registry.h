// Registry: the subsystems, their controllers and the listeners, as connections see them. Home core only;
// queues on other cores reach it by calls to that core.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nvme/fabrics.h"
#include "nvme/status.h"
#include "nvmf/target/types.h"
#include "rt/log_limiter.h"
#include "rt/reactor.h"
#include "rt/scope.h"

namespace holdfast::nvmf::target {

class Connection;
class Controller;
class Subsystem;
class SubsystemView;

// What a connection became by Connect.
struct QueueHandle {
  Controller* controller = nullptr;
  SubsystemView* view = nullptr;  // I/O queues
  std::uint16_t qid = 0;
  Uuid host_id;
  bool retry_delays = false;  // the host honours them: Connection::set_retry_delays() tells of changes
};

struct ConnectCall {
  ConnectCall(Connection& c, Reactor& on, const nvme::ConnectCmd& command,
              const nvme::ConnectData& connect_data, const Endpoint& local_address,
              const Endpoint& peer_address)
      : connection(c), core(on), cmd(command), data(connect_data), local(local_address), peer(peer_address) {}
  Connection& connection;
  Reactor& core;
  const nvme::ConnectCmd& cmd;
  const nvme::ConnectData& data;
  const Endpoint& local;
  const Endpoint& peer;
};
struct ConnectReply {
  nvme::CommandStatus status;
  std::uint32_t dw0 = 0;  // the controller identifier, or where the wrong parameter is
  QueueHandle queue;
};

// Which data an admin command moves, told from the command alone.
struct AdminTransfer {
  nvme::CommandStatus status;  // a command that cannot be served at all
  std::uint32_t to_host = 0;
  std::uint32_t to_controller = 0;
};
AdminTransfer admin_transfer(const nvme::Sqe& sqe) noexcept;

struct AdminCall {
  AdminCall(const nvme::Sqe& command, std::uint16_t request_tag, std::span<std::byte> bytes) noexcept
      : sqe(command), tag(request_tag), data(bytes) {}
  const nvme::Sqe& sqe;
  const std::uint16_t tag;
  const std::span<std::byte> data;  // as admin_transfer() said; to the host: zeroes
};
struct AdminReply {
  AdminReply() = default;
  AdminReply(nvme::CommandStatus s, std::uint64_t r = 0) noexcept : status(s), result(r) {}
  nvme::CommandStatus status;
  std::uint64_t result = 0;
  bool parked = false;  // no response now: Connection::complete_parked() will
};

// For the error log page.
struct ErrorReport {
  ErrorReport(std::uint16_t queue, const nvme::Sqe& sqe, nvme::CommandStatus s, std::uint64_t block) noexcept;
  std::uint16_t qid, cid;
  nvme::CommandStatus status;
  std::uint16_t location;  // of the parameter: its byte 7:0 and bit 10:8 in the command; FFFFh: of none
  std::uint64_t lba;
  std::uint32_t nsid;
};

// One listener as the discovery log shows it.
struct ListenAddress {
  Endpoint at;
  std::uint16_t port_id = 0;
};

class Registry {
 public:
  Registry(const Cores& cores, const TargetConfig& config);
  ~Registry();

  // --- For connections. ---
  Task<ConnectReply> connect(ConnectCall& call);
  Task<AdminReply> admin(Controller& controller, const AdminCall& call);
  void report_error(Controller& controller, const ErrorReport& report);
  // The connection of this queue ends: the last thing that it says.
  void detach(const QueueHandle& queue);

  // --- For the Target. ---
  Result<Subsystem*> add(SubsystemConfig config);
  // nullptr when there is none.
  Subsystem* find(std::string_view nqn) noexcept;
  Task<Status> remove(std::string nqn);
  const std::map<std::string, std::unique_ptr<Subsystem>, std::less<>>& subsystems() const noexcept {
    return subsystems_;
  }
  void add_listener(const Endpoint& at);
  // Errors: invalid_argument, already_exists; not_found.
  Status add_referral(Referral referral);
  Status remove_referral(const Referral& referral);
  // Ends every controller, then every subsystem.
  Task<void> close();

  // --- For subsystems and controllers. ---
  const Cores& cores() const noexcept { return cores_; }
  Reactor& home() const noexcept { return cores_.home(); }
  // Of a subsystem that is being made: another one after a restart, and each time that it is made again. What its
  // devices had cached may be lost by then.
  Uuid next_run() { return Uuid::from_name(run_.to_string() + "/" + std::to_string(++runs_)); }
  const TargetConfig& config() const noexcept { return config_; }
  Nanos age() const noexcept { return home().now() - made_at_; }
  TaskScope& scope() noexcept { return scope_; }
  // For lines that a host brings about by connecting, so that it cannot write the log as fast as it connects. The
  // machines of a cluster that come back together stay below it.
  LogLimiter& log_limiter() noexcept { return log_limiter_; }
  const std::vector<ListenAddress>& listeners() const noexcept { return listeners_; }
  const std::vector<Referral>& referrals() const noexcept { return referrals_; }
  // What the discovery log shows has changed.
  void discovery_changed();
  std::uint64_t discovery_generation() const noexcept { return discovery_generation_; }

 private:
  const Cores& cores_;
  const TargetConfig& config_;
  TaskScope scope_;
  std::map<std::string, std::unique_ptr<Subsystem>, std::less<>> subsystems_;
  std::vector<ListenAddress> listeners_;
  std::vector<Referral> referrals_;
  std::uint64_t discovery_generation_ = 1;
  const Uuid run_;  // of this process
  std::uint64_t runs_ = 0;
  const Nanos made_at_;
  LogLimiter log_limiter_{100};
};

}  // namespace holdfast::nvmf::target

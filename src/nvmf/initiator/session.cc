#include "nvmf/initiator/session.h"

#include <utility>

namespace holdfast::nvmf::host {
namespace {

constexpr std::uint16_t admin_entries =
    32;  // the least that every controller grants (NVMe Base 2.0, section 5.16.1.23)
constexpr std::uint32_t admin_staging_bytes = 16384;

}  // namespace

Watchdog::Watchdog(Queue& queue, Nanos deadline, StopToken stop) noexcept : queue_(queue) {
  if (deadline != no_deadline) queue_.reactor().arm(*this, deadline);
  stop.subscribe(*this);
}
Watchdog::~Watchdog() { queue_.reactor().disarm(*this); }
void Watchdog::fire() noexcept { queue_.fail(Error(Errc::timed_out)); }
void Watchdog::on_stop() noexcept { queue_.fail(Error(Errc::cancelled)); }

Task<Result<std::unique_ptr<AdminSession>>> AdminSession::open(Reactor& reactor, Endpoint to,
                                                               std::string subnqn,
                                                               const InitiatorConfig& config,
                                                               SessionObserver* observer, Nanos deadline,
                                                               StopToken stop) {
  std::unique_ptr<AdminSession> session(new AdminSession(reactor, std::move(to), config, observer));
  const Status up = co_await session->set_up(std::move(subnqn), deadline, stop);
  if (up.ok()) co_return session;
  session->observer_ = nullptr;  // it never had one to lose
  if (session->queue_) co_await session->close();
  if (stop.stop_requested()) co_return Error(Errc::cancelled);
  co_return up.error();
}

Task<Status> AdminSession::set_up(std::string subnqn, Nanos deadline, StopToken stop) {
  QueueOptions options;
  options.to = to_;
  options.header_digest = config_.header_digest;
  options.data_digest = config_.data_digest;
  options.depth = admin_entries - 1;
  options.staging_bytes = admin_staging_bytes;
  HF_CO_TRY(queue_, co_await Queue::open(reactor_, std::move(options), *this, deadline, stop));
  const Watchdog watchdog(*queue_, deadline, stop);
  ConnectArgs args;
  args.entries = admin_entries;
  args.keep_alive = config_.keep_alive;
  args.subnqn = std::move(subnqn);
  args.hostnqn = config_.hostnqn;
  args.hostid = config_.hostid;
  HF_CO_TRY(const Connected connected,
            co_await fabrics_connect(*queue_, std::move(args), config_.admin_timeout));
  cntlid_ = connected.cntlid;
  Admin commands = admin();
  HF_CO_TRY(const std::uint64_t cap, co_await commands.property_get(nvme::Property::cap));
  cap_ = nvme::Cap::unpack(cap);
  HF_CO_CHECK(co_await commands.enable(cap_));
  co_return Status();
}

void AdminSession::start_keep_alive() {
  if (config_.keep_alive > Nanos{0}) scope_.spawn(keep_alive());
}

Task<void> AdminSession::keep_alive() {
  // Twice per period: one lost answer is noticed before the target would give us up.
  const Nanos interval = config_.keep_alive / 2;
  while (co_await reactor_.sleep(interval, stop_.token())) {
    Admin commands(*queue_, interval);
    const Status answered = co_await commands.keep_alive();
    if (!answered.ok()) {
      queue_->fail(answered.error());
      co_return;
    }
  }
}

Task<void> AdminSession::close() {
  observer_ = nullptr;
  stop_.request_stop();
  co_await queue_->close();
  co_await scope_.join();
  co_await users_.close();
}

void AdminSession::on_queue_dead(Queue&, const Error& why) noexcept {
  if (observer_ != nullptr) observer_->on_session_lost(why);
}

void AdminSession::on_command_late(Queue& queue, Command& command) noexcept { queue.give_up(command); }

Task<Result<std::vector<Endpoint>>> resolve_host(Reactor& reactor, Endpoint host) {
  auto found = co_await reactor.resolve(host);
  if (!found.ok()) co_return found.error().with_context("'" + host.address + "'");
  if (found.value().empty()) co_return Error(Errc::not_found, "'" + host.address + "' has no address");
  co_return std::move(found).value();
}

}  // namespace holdfast::nvmf::host

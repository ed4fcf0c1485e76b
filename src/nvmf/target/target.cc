#include "nvmf/target/target.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "nvmf/target/core_context.h"
#include "nvmf/target/registry.h"
#include "nvmf/target/subsystem.h"
#include "rt/cross_core.h"

namespace holdfast::nvmf {

using target::CoreContext;
using target::Registry;
using target::Subsystem;

namespace {

// After an accept that failed for lack of descriptors.
constexpr Nanos accept_retry = 100ms;
// Connections that a listener takes in a row, and one per interval afterwards: a flood of connections is left
// to the kernel's backlog, and costs those who are connected little.
constexpr int accept_burst = 1024;
constexpr Nanos accept_interval = 500us;

// Counts accepts: a place in the burst comes back with every interval.
class AcceptPace {
 public:
  // How long to wait before the next one.
  Nanos next(Nanos now) noexcept {
    earliest_ = std::max(earliest_, now - accept_burst * accept_interval) + accept_interval;
    return std::max(earliest_ - now, Nanos{0});
  }

 private:
  Nanos earliest_ = -accept_burst * accept_interval;
};

TargetConfig within_limits(TargetConfig c) {
  c.queue_entries_max = std::clamp<std::uint32_t>(c.queue_entries_max, 32, 4096);
  c.io_queues_max = std::max<std::uint16_t>(c.io_queues_max, 1);
  c.h2c_data_bytes_max = std::clamp<std::uint32_t>(c.h2c_data_bytes_max & ~3u, 4096, transfer_bytes_max);
  c.staging_bytes = std::clamp<std::size_t>(c.staging_bytes, 16 * KiB, BufferPool::piece_bytes_max);
  return c;
}

Error closing_error() { return Error(Errc::failed_precondition, "the target is closing"); }

Error no_subsystem(const std::string& nqn) { return Error(Errc::not_found, "there is no subsystem " + nqn); }

}  // namespace

Target::Target(const Cores& cores, TargetConfig config)
    : cores_(cores),
      config_(within_limits(std::move(config))),
      registry_(std::make_unique<Registry>(cores, config_)),
      scope_(cores.home()),
      operations_(cores.home()) {
  for (Reactor* core : cores) contexts_.push_back(std::make_unique<CoreContext>(*core, *registry_, config_));
}

Target::~Target() = default;

Task<Result<Endpoint>> Target::listen(Endpoint at) {
  if (operations_.closed()) co_return closing_error();
  HF_CO_TRY(auto listener, cores_.home().listen(at));
  const Endpoint bound = listener->local();
  listeners_.push_back(std::move(listener));
  registry_->add_listener(bound);
  scope_.spawn(accept_on(*listeners_.back()));
  HF_LOG(info, "nvmf", "listening", {"at", bound.to_string()});
  co_return bound;
}

std::vector<Endpoint> Target::listeners() const {
  std::vector<Endpoint> out;
  for (const auto& l : listeners_) out.push_back(l->local());
  return out;
}

Task<void> Target::accept_on(Listener& listener) {
  AcceptPace pace;
  while (!operations_.closed()) {
    const Nanos pause = pace.next(cores_.home().now());
    if (pause > Nanos{0}) co_await cores_.home().sleep(pause);
    auto accepted = co_await listener.accept();
    if (accepted.ok()) {
      CoreContext& to = *contexts_[next_core_++ % contexts_.size()];
      scope_.spawn(hand_over(std::move(accepted).value(), to));
      continue;
    }
    if (accepted.code() == Errc::cancelled) co_return;
    HF_LOG(warn, "nvmf", "accept failed", {"at", listener.local().to_string()}, {"error", accepted.error()});
    co_await cores_.home().sleep(accept_retry);
  }
}

Task<void> Target::hand_over(std::unique_ptr<PendingStream> accepted, CoreContext& to) {
  auto there = [&]() -> Task<void> {
    to.begin(std::move(accepted));
    co_return;
  };
  co_await run_on(cores_.home(), to.reactor(), there);
}

Task<Status> Target::add_subsystem(SubsystemConfig config) {
  if (operations_.closed()) co_return closing_error();
  auto added = registry_->add(std::move(config));
  if (!added.ok()) co_return added.error();
  co_return Status();
}

Task<Status> Target::remove_subsystem(std::string nqn) {
  const Gate::Hold hold = operations_.enter();
  if (!hold) co_return closing_error();
  HF_CO_CHECK(co_await registry_->remove(std::move(nqn)));
  co_return Status();
}

// The subsystem, unless it is the discovery subsystem or the target closes.
Result<Subsystem*> Target::find(const std::string& nqn, const Gate::Hold& hold) {
  if (!hold) return closing_error();
  Subsystem* subsystem = registry_->find(nqn);
  if (subsystem == nullptr || subsystem->is_discovery()) return no_subsystem(nqn);
  return subsystem;
}

Task<Status> Target::add_namespace(std::string nqn, NamespaceConfig config, BlockDevice& device,
                                   ReservationGuard* guard) {
  const Gate::Hold hold = operations_.enter();
  HF_CO_TRY(Subsystem * subsystem, find(nqn, hold));
  HF_CO_CHECK(co_await subsystem->add_namespace(config, device, guard));
  co_return Status();
}

Task<Status> Target::remove_namespace(std::string nqn, std::uint32_t nsid) {
  const Gate::Hold hold = operations_.enter();
  HF_CO_TRY(Subsystem * subsystem, find(nqn, hold));
  HF_CO_CHECK(co_await subsystem->remove_namespace(nsid));
  co_return Status();
}

Task<Status> Target::set_allowed_hosts(std::string nqn, std::vector<std::string> host_nqns) {
  const Gate::Hold hold = operations_.enter();
  HF_CO_TRY(Subsystem * subsystem, find(nqn, hold));
  HF_CO_CHECK(co_await subsystem->set_allowed_hosts(std::move(host_nqns)));
  co_return Status();
}

Task<Status> Target::set_ana_state(std::string nqn, std::uint32_t nsid, nvme::AnaState state) {
  const Gate::Hold hold = operations_.enter();
  HF_CO_TRY(Subsystem * subsystem, find(nqn, hold));
  HF_CO_CHECK(co_await subsystem->set_ana_state(nsid, state));
  co_return Status();
}

Status Target::add_referral(Referral referral) {
  if (operations_.closed()) return closing_error();
  return registry_->add_referral(std::move(referral));
}

Status Target::remove_referral(const Referral& referral) { return registry_->remove_referral(referral); }

std::vector<Referral> Target::referrals() const { return registry_->referrals(); }

std::vector<SubsystemInfo> Target::subsystems() const {
  std::vector<SubsystemInfo> out;
  for (const auto& [nqn, subsystem] : registry_->subsystems()) {
    if (!subsystem->is_discovery()) out.push_back(subsystem->info());
  }
  return out;
}

Result<SubsystemInfo> Target::subsystem(const std::string& nqn) const {
  const Subsystem* subsystem = registry_->find(nqn);
  if (subsystem == nullptr || subsystem->is_discovery()) return no_subsystem(nqn);
  return subsystem->info();
}

std::vector<ControllerInfo> Target::discovery_controllers() const {
  return registry_->find(nvme::discovery_nqn)->info().controllers;
}

Task<TargetStats> Target::stats() {
  TargetStats sum;
  for (auto& context : contexts_) {
    TargetStats one;
    auto there = [&]() -> Task<void> {
      one = context->stats();
      co_return;
    };
    co_await run_on(cores_.home(), context->reactor(), there);
    sum += one;
  }
  co_return sum;
}

Task<void> Target::close() {
  if (operations_.closed()) co_return;
  for (auto& listener : listeners_) listener->shutdown();
  co_await operations_.close();
  co_await scope_.join();
  for (auto& listener : listeners_) co_await listener->close();
  for (auto& context : contexts_) {
    auto there = [&]() -> Task<void> { return context->close(); };
    co_await run_on(cores_.home(), context->reactor(), there);
  }
  co_await registry_->close();
}

}  // namespace holdfast::nvmf

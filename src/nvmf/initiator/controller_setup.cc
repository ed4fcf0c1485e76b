#include <algorithm>
#include <utility>

#include "base/log.h"
#include "nvmf/initiator/controller.h"

namespace holdfast::nvmf::host {
namespace {

constexpr std::uint32_t io_staging_bytes = 128 << 10;

}  // namespace

// One attempt at a whole association. On error the caller tears down what there is of it.
Task<Status> Controller::establish() {
  const Nanos deadline = home_.now() + remote_.config.connect_timeout;
  HF_CO_CHECK(co_await open_session(deadline));
  {
    const Watchdog watchdog(session_->queue(), deadline, stop_.token());
    HF_CO_CHECK(co_await initialize());
  }
  for (unsigned core = 0; core < cores_.count(); ++core) {
    if (stop_.stop_requested()) co_return Error(Errc::cancelled);
    if (core < queues_ && wanted_[core]) HF_CO_CHECK(co_await open_io_queue(core));
  }
  if (lost_) co_return Error(Errc::not_connected, "the connection ended during the set-up");
  co_return Status();
}

// At the first of the host's addresses that takes us.
Task<Status> Controller::open_session(Nanos deadline) {
  HF_CO_TRY(const std::vector<Endpoint> addresses, co_await resolve_host(home_, remote_.host));
  Error last(Errc::not_found);
  for (const Endpoint& to : addresses) {
    auto opened =
        co_await AdminSession::open(home_, to, remote_.nqn, remote_.config, this, deadline, stop_.token());
    if (opened.ok()) {
      session_ = std::move(opened).value();
      if (!session_->alive()) lost_ = true;
      co_return Status();
    }
    last = opened.error();
    if (stop_.stop_requested()) break;
  }
  co_return last;
}

Task<Status> Controller::initialize() {
  Admin admin = session_->admin();
  const Uuid run_before = info_.run;
  HF_CO_TRY(info_, co_await identify_controller(admin, session_->cap(), remote_.config));
  const bool restarted = !run_before.is_nil() && info_.run != run_before;
  if (restarted && known_ && info_.volatile_cache && remote_.config.fail_after_restart) cache_lost_ = true;
  // One process at a time has the address: the run that held our commands is dead.
  if (restarted && !info_.run.is_nil() && session_->endpoint() == run_address_) fence_ = home_.now();
  run_address_ = session_->endpoint();
  info_.cntlid = session_->cntlid();
  if (info_.keep_alive) session_->start_keep_alive();
  HF_CO_CHECK(co_await request_queues(admin));
  HF_CO_CHECK(co_await find_namespace(admin));
  ana_ = nvme::AnaState::optimized;
  if (info_.ana) {
    HF_CO_TRY(ana_, co_await read_ana_state(admin, space_.ana_group));
  }
  co_await start_events(admin);
  co_return Status();
}

// One I/O queue per core, or as many as the target grants.
Task<Status> Controller::request_queues(Admin& admin) {
  const std::uint32_t cores = cores_.count();
  const std::uint32_t asked = nvme::pack_queue_counts(cores, cores);
  HF_CO_TRY(const std::uint32_t granted, co_await admin.set_features(nvme::Feature::number_of_queues, asked));
  const unsigned queues = std::min(cores, std::min((granted & 0xffffu) + 1, (granted >> 16) + 1));
  if (known_ && queues < queues_)
    co_return Error(Errc::resource_exhausted, "the target grants fewer I/O queues than before");
  // Channels hold on to the queues of the first association.
  if (!known_) queues_ = queues;
  co_return Status();
}

// The namespace, which has to be the one that the device showed before.
Task<Status> Controller::find_namespace(Admin& admin) {
  HF_CO_TRY(const NamespaceInfo found, co_await identify_namespace(admin, info_, remote_));
  if (!known_) {
    space_ = found;
    known_ = true;
    co_return Status();
  }
  if (found.uuid != space_.uuid || found.nguid != space_.nguid)
    co_return Error(Errc::not_found, "another namespace is there now: uuid " + found.uuid.to_string() +
                                         ", was " + space_.uuid.to_string());
  if (found.geometry.block_bytes != space_.geometry.block_bytes ||
      found.geometry.block_count < space_.geometry.block_count)
    co_return Error(Errc::failed_precondition,
                    "the namespace is smaller than it was, or has another block size");
  const bool resized = found.geometry.block_count != space_.geometry.block_count;
  space_ = found;
  if (resized) raise(DeviceEvent::resized);
  co_return Status();
}

IoQueueArgs Controller::io_queue_args(unsigned core) const {
  const InitiatorConfig& config = remote_.config;
  IoQueueArgs args;
  args.queue.to = session_->endpoint();
  args.queue.header_digest = config.header_digest;
  args.queue.data_digest = config.data_digest;
  args.queue.depth = info_.queue_entries - 1;
  args.queue.staging_bytes = io_staging_bytes;
  args.queue.tick = std::clamp<Nanos>(config.io_timeout / 10, 5ms, 250ms);
  args.queue.abort_timeout = config.abort_timeout;
  args.connect.qid = static_cast<std::uint16_t>(core + 1);
  args.connect.cntlid = info_.cntlid;
  args.connect.entries = static_cast<std::uint16_t>(std::min<std::uint32_t>(info_.queue_entries, 0xffff));
  args.connect.subnqn = remote_.nqn;
  args.connect.hostnqn = config.hostnqn;
  args.connect.hostid = config.hostid;
  args.in_capsule_bytes = info_.in_capsule_bytes;
  args.timeout = config.connect_timeout;
  return args;
}

Task<Status> Controller::open_io_queue(unsigned core) {
  CorePath& path = *paths_[core];
  const IoQueueArgs args = io_queue_args(core);
  auto open = [&path, &args]() -> Task<Status> { return path.open_queue(args); };
  const Status opened = co_await run_on(home_, path.reactor(), open);
  if (opened.ok()) co_return Status();
  co_return opened.error().with_context("I/O queue " + std::to_string(core + 1));
}

PathLimits Controller::path_limits() const {
  PathLimits limits;
  limits.nsid = space_.nsid;
  limits.transfer_bytes_max = info_.transfer_bytes_max;
  limits.zeroes_blocks_max = info_.zeroes_blocks_max;
  limits.deallocate_blocks_max = info_.deallocate_blocks_max;
  limits.zeroes_may_deallocate = space_.zeroes_may_deallocate;
  limits.compare = info_.compare;
  limits.geometry = space_.geometry;
  limits.capabilities = space_.capabilities;
  return limits;
}

}  // namespace holdfast::nvmf::host

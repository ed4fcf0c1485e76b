#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "nvmf/initiator/controller.h"

namespace holdfast::nvmf::host {
namespace {

constexpr std::uint32_t io_staging_bytes = 128 << 10;

}  // namespace

// One attempt at a whole association. On error the caller tears down what there is of it.
Task<Status> Controller::establish() {
  refused_ = false;
  HF_CO_TRY(const std::vector<Endpoint> addresses, co_await resolve_host(home_, address_));
  const Nanos deadline = home_.now() + remote_.config.connect_timeout;
  HF_CO_CHECK(co_await open_session(addresses, deadline));
  {
    const Watchdog watchdog(session_->queue(), deadline, stop_.token());
    HF_CO_CHECK(co_await initialize());
  }
  for (unsigned core = 0; core < cores_.count(); ++core) {
    if (stop_.stop_requested()) co_return Error(Errc::cancelled);
    if (wanted_[core]) HF_CO_CHECK(co_await open_io_queue(core));
  }
  if (lost_) co_return Error(Errc::not_connected, "the connection ended during the set-up");
  co_return Status();
}

// At the first of the host's addresses that takes us.
Task<Status> Controller::open_session(const std::vector<Endpoint>& addresses, Nanos deadline) {
  Error last(Errc::not_found);
  bool refused = true;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const Nanos until = share_until(home_.now(), deadline, addresses.size() - i);
    auto opened = co_await AdminSession::open(home_, addresses[i], remote_.nqn, remote_.config, this, until,
                                              stop_.token());
    if (opened.ok()) {
      session_ = std::move(opened).value();
      if (!session_->alive()) lost_ = true;
      co_return Status();
    }
    last = opened.error();
    refused = refused && last.sys_errno() == ECONNREFUSED;
    if (stop_.stop_requested()) break;
  }
  refused_ = refused;
  co_return last;
}

Task<Status> Controller::initialize() {
  Admin admin = session_->admin();
  const Uuid run_before = info_.run;
  HF_CO_TRY(info_, co_await identify_controller(admin, session_->cap(), remote_.config));
  const bool restarted = !run_before.is_nil() && info_.run != run_before;
  // One run of the subsystem at a time has the address: the one that held our commands is dead.
  if (restarted && !info_.run.is_nil() && session_->endpoint() == run_address_) {
    fence_ = home_.now();
    co_await tell_quiet();
  }
  run_address_ = session_->endpoint();
  info_.cntlid = session_->cntlid();
  if (info_.keep_alive) session_->start_keep_alive();
  if (info_.delays_retries) co_await admin.accept_retry_delays();
  HF_CO_TRY(const unsigned queues, co_await request_queues(admin));
  co_await enable_events(admin);
  HF_CO_CHECK(co_await find_namespace(admin, queues));
  ana_ = nvme::AnaState::optimized;
  if (info_.ana) {
    HF_CO_TRY(ana_, co_await read_ana_state(admin, space_.ana_group));
  }
  start_events();
  co_return Status();
}

// One I/O queue per core, or as many as the target grants.
Task<Result<unsigned>> Controller::request_queues(Admin& admin) {
  const std::uint32_t cores = cores_.count();
  const std::uint32_t asked = nvme::pack_queue_counts(cores, cores);
  HF_CO_TRY(const std::uint32_t granted, co_await admin.set_features(nvme::Feature::number_of_queues, asked));
  co_return std::min(cores, std::min((granted & 0xffffu) + 1, (granted >> 16) + 1));
}

// The namespace, which has to be the one that the device shows.
Task<Status> Controller::find_namespace(Admin& admin, unsigned queues) {
  HF_CO_TRY(const NamespaceInfo found, co_await identify_namespace(admin, info_, remote_));
  HF_CO_CHECK(co_await owner_.admit(info_, found, queues, Seen::at_connect));
  space_ = found;
  queues_ = queues;
  removed_ = false;
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
  const Status opened = co_await run_on(home_, cores_.at(core), open);
  opened_[core] = opened.ok();
  if (opened.ok()) co_return Status();
  co_return opened.error().with_context("I/O queue " + std::to_string(core + 1));
}

}  // namespace holdfast::nvmf::host

#include "nvmf/target/controller.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "nvmf/target/connection.h"
#include "nvmf/target/subsystem.h"
#include "rt/cross_core.h"

namespace holdfast::nvmf::target {
namespace {

// KAS: the host's timeout is rounded up to whole seconds.
constexpr std::uint32_t keep_alive_granularity_ms = 1000;

// What the notices are on the wire, in the order of Controller::Notice.
struct EventKind {
  nvme::AsyncEventType type;
  std::uint32_t enabled_by;  // 0: always
  std::uint8_t info;
  nvme::LogPage page;
};
constexpr std::uint8_t info_of(auto info) noexcept { return static_cast<std::uint8_t>(info); }
constexpr EventKind kinds[] = {
    {nvme::AsyncEventType::notice, nvme::oaes_namespace_attribute,
     info_of(nvme::AsyncNotice::namespace_attribute_changed), nvme::LogPage::changed_namespaces},
    {nvme::AsyncEventType::notice, nvme::oaes_ana_change, info_of(nvme::AsyncNotice::ana_change),
     nvme::LogPage::ana},
    {nvme::AsyncEventType::notice, nvme::oaes_discovery_change,
     info_of(nvme::AsyncNotice::discovery_log_change), nvme::LogPage::discovery},
    // Masked by a feature of its own; "reservation log page available".
    {nvme::AsyncEventType::io_command_set, 0, 0, nvme::LogPage::reservation},
    {nvme::AsyncEventType::error, 0, info_of(nvme::AsyncError::transient_internal), nvme::LogPage::error},
    {nvme::AsyncEventType::smart, nvme::critical_reliability, info_of(nvme::AsyncHealth::reliability),
     nvme::LogPage::smart},
};

// Runs f() on the core of a connection. The connection is there when the call arrives: its last word to home,
// detach, waits for an answer that home sends after this call.
Task<void> disconnect_on(Reactor& home, Reactor& core, Connection& connection) {
  auto there = [&]() -> Task<void> {
    connection.disconnect();
    co_return;
  };
  co_await run_on(home, core, there);
}

Task<void> set_retry_delays_on(Reactor& home, Reactor& core, Connection& connection, bool on) {
  auto there = [&]() -> Task<void> {
    connection.set_retry_delays(on);
    co_return;
  };
  co_await run_on(home, core, there);
}

Task<void> answer_on(Reactor& home, Reactor& core, Connection& connection, std::uint16_t tag,
                     nvme::CommandStatus status, std::uint32_t dw0) {
  auto there = [&]() -> Task<void> {
    connection.complete_parked(tag, status, dw0);
    co_return;
  };
  co_await run_on(home, core, there);
}

}  // namespace

Controller::Controller(Subsystem& subsystem, std::uint16_t cntlid, Host host, std::uint32_t keep_alive_ms)
    : subsystem_(subsystem),
      cntlid_(cntlid),
      host_(std::move(host)),
      keep_alive_(*this),
      association_(*this),
      made_at_(home().now()),
      timestamp_set_at_(made_at_),
      queue_gone_(home()) {
  const TargetConfig& config = subsystem.registry().config();
  cap_ = nvme::Cap{.mqes = static_cast<std::uint16_t>(config.queue_entries_max - 1),
                   .cqr = true,
                   .to = 2,  // a second: enabling does nothing that takes time
                   .css = nvme::cap_css_nvm | nvme::cap_css_all,
                   .mpsmin = 0,
                   .mpsmax = 0,
                   .crms = 1};
  set_keep_alive(keep_alive_ms);
  watch_association();
}

Controller::~Controller() {
  home().disarm(keep_alive_);
  home().disarm(association_);
}

Reactor& Controller::home() const noexcept { return subsystem_.registry().home(); }

bool Controller::is_discovery() const noexcept { return subsystem_.is_discovery(); }

ControllerInfo Controller::info() const {
  ControllerInfo out;
  out.cntlid = cntlid_;
  out.host_nqn = host_.nqn;
  out.host_id = host_.id;
  out.enabled = enabled();
  out.keep_alive_ms = keep_alive_ms_;
  for (const Queue& q : queues_) {
    QueueInfo info;
    info.qid = q.qid;
    info.entries = q.entries;
    info.core = q.core->core();
    info.host = q.peer;
    out.queues.push_back(std::move(info));
  }
  return out;
}

const Controller::Queue* Controller::find_queue(std::uint16_t qid) const noexcept {
  const auto it =
      std::find_if(queues_.begin(), queues_.end(), [qid](const Queue& q) { return q.qid == qid; });
  return it == queues_.end() ? nullptr : &*it;
}

bool Controller::has_queue(std::uint16_t qid) const noexcept { return find_queue(qid) != nullptr; }

bool Controller::has_io_queues() const noexcept {
  return std::any_of(queues_.begin(), queues_.end(), [](const Queue& q) { return q.qid != 0; });
}

std::uint32_t Controller::io_queues_max() const noexcept {
  const std::uint32_t granted = features_.queue_counts;
  return granted != 0 ? (granted & 0xffff) + 1 : subsystem_.registry().config().io_queues_max;
}

void Controller::add_queue(const ConnectCall& call) {
  const std::uint16_t qid = call.cmd.qid;
  if (qid == 0) local_ = call.local;
  queues_.push_back(Queue{qid, call.cmd.sqsize + 1u, &call.connection, &call.core, call.peer});
}

void Controller::remove_queue(std::uint16_t qid) {
  std::erase_if(queues_, [qid](const Queue& q) { return q.qid == qid; });
  if (qid == 0) {
    parked_.clear();
    if (!ending_) end("the admin queue has ended");
  }
  queue_gone_.wake_all();
  forget_if_over();
}

void Controller::forget_if_over() {
  if (queues_.empty() && pins_ == 0) subsystem_.forget(*this);
}

void Controller::end(std::string_view why) {
  if (ending_) return;
  ending_ = true;
  if (const auto left_out = subsystem_.registry().log_limiter().admit(home().now())) {
    HF_LOG(info, "nvmf", "controller ends", {"nqn", subsystem_.config().nqn}, {"host", host_.nqn},
           {"cntlid", cntlid_}, {"why", why}, {"left_out", *left_out});
  }
  home().disarm(keep_alive_);
  home().disarm(association_);
  for (const Queue& q : queues_) disconnect(q);
}

void Controller::disconnect(const Queue& queue) {
  subsystem_.registry().scope().spawn(disconnect_on(home(), *queue.core, *queue.connection));
}

void Controller::disconnect_io_queues() {
  for (const Queue& q : queues_) {
    if (q.qid != 0) disconnect(q);
  }
}

void Controller::set_retry_delays(bool on) {
  features_.acre = on ? 1 : 0;
  for (const Queue& q : queues_) {
    subsystem_.registry().scope().spawn(set_retry_delays_on(home(), *q.core, *q.connection, on));
  }
}

// CC.EN from 1 to 0.
void Controller::reset() {
  set_retry_delays(false);
  csts_ = nvme::Csts{};
  disconnect_io_queues();
  for (const ParkedEvent& event : std::exchange(parked_, {})) {
    answer(event, nvme::StatusCode::abort_requested, 0);
  }
  notice_ = {};
  changed_namespaces_.clear();
  reservation_events_.clear();
  reservation_event_count_ = 0;
  features_ = FeatureValues{};
  watch_association();
}

void Controller::watch_association() {
  const Nanos timeout = subsystem_.registry().config().association_timeout;
  home().arm(association_, home().now() + timeout);
}

void Controller::set_keep_alive(std::uint32_t milliseconds) {
  const std::uint64_t rounded = round_up(milliseconds, keep_alive_granularity_ms);
  keep_alive_ms_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(rounded, 0xffffffff));
  last_traffic_ = home().now();
  if (silence_max() == Nanos{0}) {
    home().disarm(keep_alive_);
  } else {
    home().arm(keep_alive_, last_traffic_ + silence_max());
  }
}

// A discovery controller without a keep alive timeout is one that the host reads and leaves (NVMe Base 2.0,
// section 3.1.2.3: an activity timeout of two minutes).
Nanos Controller::silence_max() const noexcept {
  if (keep_alive_ms_ != 0) return std::chrono::milliseconds(keep_alive_ms_);
  return is_discovery() ? subsystem_.registry().config().association_timeout : Nanos{0};
}

void Controller::keep_alive_due() {
  const Nanos due = last_traffic_ + silence_max();
  if (due > home().now()) return home().arm(keep_alive_, due);
  ++pins_;
  subsystem_.registry().scope().spawn(check_io_traffic());
}

// Keep alive is traffic based: commands on I/O queues count (NVMe Base 2.0, section 3.9.4). So do their responses:
// there are hosts, Linux among them, that send no Keep Alive while commands of theirs complete.
Task<void> Controller::check_io_traffic() {
  for (std::uint32_t qid = 1; qid <= subsystem_.registry().config().io_queues_max; ++qid) {
    // Looked up anew each time: queues end while we wait.
    const Queue* q = find_queue(static_cast<std::uint16_t>(qid));
    if (q == nullptr) continue;
    Connection& connection = *q->connection;
    Nanos heard_at{0};
    auto there = [&]() -> Task<void> {
      heard_at = connection.heard_at();
      co_return;
    };
    co_await run_on(home(), *q->core, there);
    last_traffic_ = std::max(last_traffic_, heard_at);
  }
  --pins_;
  const Nanos due = last_traffic_ + silence_max();
  if (!ending_ && silence_max() != Nanos{0}) {
    if (due > home().now()) {
      home().arm(keep_alive_, due);
    } else {
      end("keep alive timer expired");
    }
  }
  forget_if_over();
}

void Controller::namespace_changed(std::uint32_t nsid) {
  changed_namespaces_.insert(nsid);
  raise(Notice::namespace_attribute);
}

void Controller::record_error(const ErrorReport& report) {
  nvme::ErrorLogEntry entry{};
  entry.sqid = report.qid;
  entry.cmdid = report.cid;
  entry.status_field = report.status.pack();
  entry.parm_error_location = report.location;
  entry.lba = report.lba;
  entry.nsid = report.nsid;
  add_error(entry);
}

void Controller::add_error(nvme::ErrorLogEntry entry) {
  entry.error_count = ++error_count_;
  entry.trtype = static_cast<std::uint8_t>(nvme::TransportType::tcp);
  errors_.push_front(entry);
  if (errors_.size() > errors_max) errors_.pop_back();
}

void Controller::device_failed(std::uint32_t nsid) {
  nvme::ErrorLogEntry entry{};
  entry.sqid = entry.cmdid = entry.parm_error_location = 0xffff;
  entry.status_field = nvme::CommandStatus(nvme::StatusCode::internal_error).pack();
  entry.nsid = nsid;
  add_error(entry);
  raise(Notice::error);
  raise(Notice::health);
}

void Controller::async_event_config_changed() {
  NoticeState& health = state_of(Notice::health);
  if (subsystem_.critical_warning(nvme::nsid_all) != 0 && !health.unread) health.pending = true;
  pump();
}

void Controller::log_was_read(nvme::LogPage page, bool retain) {
  if (retain) return;
  if (page == nvme::LogPage::changed_namespaces) changed_namespaces_.clear();
  if (page == nvme::LogPage::reservation && !reservation_events_.empty()) reservation_events_.pop_front();
  static_assert(std::size(kinds) == notices);
  for (std::size_t i = 0; i < notices; ++i) {
    if (kinds[i].page == page) notice_[i].unread = false;
  }
  pump();
}

void Controller::raise(Notice notice) {
  state_of(notice).pending = true;
  pump();
}

// Tells the host what is pending, as far as it wants to know and has requests parked.
void Controller::pump() {
  // What was wrong and is over is nothing to tell.
  if (subsystem_.critical_warning(nvme::nsid_all) == 0) state_of(Notice::health).pending = false;
  for (std::size_t i = 0; i < notices; ++i) {
    NoticeState& state = notice_[i];
    if (!state.pending || state.unread || parked_.empty() || ending_) continue;
    const std::uint32_t enabled_by = kinds[i].enabled_by;
    if (enabled_by != 0 && (features_.async_event_config & enabled_by) == 0) continue;
    state.pending = false;
    state.unread = true;
    const ParkedEvent event = parked_.front();
    parked_.erase(parked_.begin());
    const nvme::AsyncEvent what{kinds[i].type, kinds[i].info, static_cast<std::uint8_t>(kinds[i].page)};
    answer(event, nvme::CommandStatus(), what.pack());
  }
}

void Controller::answer(ParkedEvent event, nvme::CommandStatus status, std::uint32_t dw0) {
  const Queue* admin_queue = find_queue(0);
  if (admin_queue == nullptr) return;
  subsystem_.registry().scope().spawn(
      answer_on(home(), *admin_queue->core, *admin_queue->connection, event.tag, status, dw0));
}

}  // namespace holdfast::nvmf::target

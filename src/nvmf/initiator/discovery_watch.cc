#include "nvmf/initiator/discovery_watch.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/log.h"
#include "nvme/fabrics.h"
#include "nvme/identify.h"
#include "nvmf/initiator/discovery_log.h"
#include "nvmf/initiator/event_pace.h"
#include "nvmf/initiator/session.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::nvmf {
namespace {

using Entries = std::vector<DiscoveryEntry>;

// A persistent connection needs one (NVMe Base 2.0, section 3.1.2.3).
constexpr Nanos keep_alive_default = 30s;
// Changes come in groups, and a service may announce them without end: then its log is read again later and later.
constexpr Nanos settle_time = 50ms;
constexpr Nanos settle_time_max = 400ms;
// After a log that changed all the time while it was read.
constexpr Nanos busy_retry = 1s;

struct Service {
  Service(Endpoint a, std::string n) : at(std::move(a)), nqn(std::move(n)) {}

  const Endpoint at;
  const std::string nqn;
  StopSource stop;
  Entries entries;
  bool was_read = false;
  bool lost = false;
  unsigned attempt = 0;  // since it answered
};

// What wakes the follower of a connected service.
struct Attention final : host::SessionObserver {
  explicit Attention(Reactor& r) noexcept : event(r) {}
  void on_session_lost(const Error&) noexcept override { event.set(); }
  Event event;
  bool deaf = false;  // there are no events
};

class Watch final : StopCallback {
 public:
  Watch(Reactor& reactor, DiscoveryWatchOptions options, InitiatorConfig config, DiscoveryObserver& observer)
      : reactor_(reactor),
        options_(std::move(options)),
        config_(std::move(config)),
        observer_(observer),
        scope_(reactor) {}

  Task<Status> run(StopToken stop);

 private:
  void on_stop() noexcept override;
  void begin(Endpoint at, std::string nqn);
  Task<void> follow(Service& s);
  Task<Status> attend(Service& s);
  Task<Status> read_as_it_changes(Service& s, host::AdminSession& session, Attention& attention);
  static Task<bool> ask_for_events(host::Admin& admin);
  Task<void> serve_events(host::AdminSession& session, Attention& attention);
  void take(Service& s, Entries entries);
  void follow_referrals();
  void tell();
  Nanos backoff(const Service& s) noexcept;

  Reactor& reactor_;
  const DiscoveryWatchOptions options_;
  const InitiatorConfig config_;
  DiscoveryObserver& observer_;
  std::vector<std::unique_ptr<Service>> services_;  // the first is the one that was asked for
  std::optional<Entries> told_;
  std::optional<Error> failed_;
  bool stopping_ = false;
  TaskScope scope_;
};

Task<Status> Watch::run(StopToken stop) {
  stop.subscribe(*this);
  if (!stopping_) begin(options_.at, std::string(nvme::discovery_nqn));
  co_await scope_.join();
  if (failed_) co_return *failed_;
  co_return Status();
}

void Watch::on_stop() noexcept {
  stopping_ = true;
  for (const auto& s : services_) s->stop.request_stop();
}

void Watch::begin(Endpoint at, std::string nqn) {
  services_.push_back(std::make_unique<Service>(std::move(at), std::move(nqn)));
  scope_.spawn(follow(*services_.back()));
}

Task<void> Watch::follow(Service& s) {
  const bool is_first = services_.front().get() == &s;
  while (!s.stop.stop_requested()) {
    const Status ended = co_await attend(s);
    if (ended.ok() || s.stop.stop_requested()) break;
    if (is_first && !s.was_read) {
      failed_ = ended.error();
      on_stop();
      break;
    }
    if (!std::exchange(s.lost, true)) observer_.on_service_lost(s.at, ended.error());
    const Nanos pause = backoff(s);
    ++s.attempt;
    co_await reactor_.sleep(pause, s.stop.token());
  }
  std::erase_if(services_, [&s](const auto& other) { return other.get() == &s; });
}

Task<Status> Watch::attend(Service& s) {
  const std::string where = "discovery service at " + s.at.to_string();
  HF_CO_TRY(const std::vector<Endpoint> addresses, co_await host::resolve_host(reactor_, s.at));
  const Nanos deadline = reactor_.now() + config_.connect_timeout;
  Error last(Errc::not_found);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    Attention attention(reactor_);
    const Nanos until = host::share_until(reactor_.now(), deadline, addresses.size() - i);
    auto opened = co_await host::AdminSession::open(reactor_, addresses[i], s.nqn, config_, &attention, until,
                                                    s.stop.token());
    if (!opened.ok()) {
      last = opened.error();
      continue;
    }
    const std::unique_ptr<host::AdminSession> session = std::move(opened).value();
    const Status ended = co_await read_as_it_changes(s, *session, attention);
    co_await session->close();
    if (ended.ok()) co_return Status();
    co_return ended.error().with_context(where);
  }
  co_return last.with_context(where);
}

// Until the stop, or an error.
Task<Status> Watch::read_as_it_changes(Service& s, host::AdminSession& session, Attention& attention) {
  session.start_keep_alive();
  host::Admin admin = session.admin();
  const bool tells = co_await ask_for_events(admin);
  attention.deaf = !tells;
  if (tells) session.scope().spawn(serve_events(session, attention));
  Nanos settle = settle_time;
  while (!s.stop.stop_requested()) {
    const Nanos begun = reactor_.now();
    attention.event.reset();
    auto entries = co_await host::read_discovery_log(admin);
    if (!entries.ok() && entries.code() != Errc::busy) co_return entries.error();
    Nanos deadline = attention.deaf ? reactor_.now() + options_.poll : no_deadline;
    if (!entries.ok()) deadline = reactor_.now() + busy_retry;
    if (entries.ok()) take(s, std::move(entries).value());
    const Wake woken = co_await attention.event.wait(deadline, s.stop.token());
    if (woken == Wake::stopped) break;
    if (!session.alive()) co_return session.queue().why();
    const bool goes_on = reactor_.now() - begun < settle_time_max;
    settle = goes_on ? std::min(2 * settle, settle_time_max) : settle_time;
    co_await reactor_.sleep(settle, s.stop.token());
  }
  co_return Status();
}

// Whether the service will tell of changes.
Task<bool> Watch::ask_for_events(host::Admin& admin) {
  const auto id = std::make_unique<nvme::IdentifyController>();
  const auto bytes = std::as_writable_bytes(std::span<nvme::IdentifyController, 1>(id.get(), 1));
  const Status identified = co_await admin.identify(nvme::Cns::controller, 0, 0, bytes);
  if (!identified.ok() || (id->oaes & nvme::oaes_discovery_change) == 0) co_return false;
  const auto configured =
      co_await admin.set_features(nvme::Feature::async_event_config, nvme::oaes_discovery_change);
  co_return configured.ok();
}

Task<void> Watch::serve_events(host::AdminSession& session, Attention& attention) {
  host::Admin admin = session.admin();
  host::EventPace pace;
  for (;;) {
    const auto event = co_await admin.next_event();
    if (!event.ok()) {  // the connection ended, or requests are refused
      attention.deaf = true;
      attention.event.set();
      co_return;
    }
    if (event.value().type == nvme::AsyncEventType::notice &&
        static_cast<nvme::AsyncNotice>(event.value().info) == nvme::AsyncNotice::discovery_log_change) {
      attention.event.set();
    }
    const Nanos pause = pace.pause(reactor_.now());
    if (pause > Nanos{0}) co_await reactor_.sleep(pause, session.stop());
  }
}

void Watch::take(Service& s, Entries entries) {
  if (stopping_) return;
  s.lost = false;
  s.attempt = 0;
  if (std::exchange(s.was_read, true) && entries == s.entries) return;
  s.entries = std::move(entries);
  if (options_.referrals) follow_referrals();
  tell();
}

// Begins with services that somebody refers to now, and ends with those that nobody does any more.
void Watch::follow_referrals() {
  std::vector<const Service*> reached{services_.front().get()};
  std::vector<DiscoveryEntry> missing;
  const auto is_at = [](const Service& s, const DiscoveryEntry& e) {
    return s.at == e.address && (s.nqn == host::service_nqn(e));
  };
  for (std::size_t i = 0; i < reached.size(); ++i) {
    for (const DiscoveryEntry& e : reached[i]->entries) {
      if (!host::is_usable_referral(e)) continue;
      const auto found = std::find_if(services_.begin(), services_.end(), [&](const auto& s) {
        return !s->stop.stop_requested() && is_at(*s, e);
      });
      if (found == services_.end()) {
        if (!host::has_way(missing, e)) missing.push_back(e);
      } else if (std::find(reached.begin(), reached.end(), found->get()) == reached.end()) {
        reached.push_back(found->get());
      }
    }
  }
  for (const auto& s : services_) {
    if (std::find(reached.begin(), reached.end(), s.get()) == reached.end()) s->stop.request_stop();
  }
  for (const DiscoveryEntry& e : missing) {
    if (stopping_ || services_.size() > host::discovery_services_max) {
      HF_LOG(warn, "nvmf", "too many referrals", {"service", e.address.to_string()});
      continue;
    }
    begin(e.address, host::service_nqn(e));
  }
}

void Watch::tell() {
  Entries all;
  for (const auto& s : services_) {
    if (s->stop.stop_requested()) continue;
    for (const DiscoveryEntry& e : s->entries) {
      if (options_.referrals && e.type == nvme::SubsystemType::referral) continue;
      if (all.size() < host::discovery_entries_max && !host::has_way(all, e)) all.push_back(e);
    }
  }
  if (stopping_ || (told_ && *told_ == all)) return;
  told_ = std::move(all);
  observer_.on_entries(*told_);
}

// Exponential with jitter: many that lost the same service do not come back in step.
Nanos Watch::backoff(const Service& s) noexcept {
  constexpr unsigned doublings_max = 16;
  const std::int64_t factor = std::int64_t{1} << std::min(s.attempt, doublings_max);
  const Nanos step = std::min(config_.backoff_max, config_.backoff_min * factor);
  const auto half = static_cast<std::uint64_t>(std::max<std::int64_t>(step.count() / 2, 1));
  return Nanos(static_cast<std::int64_t>(half + reactor_.random().below(half + 1)));
}

}  // namespace

Task<Status> watch_discovery(Reactor& reactor, DiscoveryWatchOptions options, InitiatorConfig config,
                             DiscoveryObserver& observer, StopToken stop) {
  complete_identity(config);
  if (config.keep_alive <= Nanos{0}) config.keep_alive = keep_alive_default;
  Watch watch(reactor, std::move(options), std::move(config), observer);
  co_return co_await watch.run(stop);
}

}  // namespace holdfast::nvmf

#include "control/election.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/log.h"

namespace holdfast::control {
namespace {

constexpr Nanos retry = 1s;

std::string record_of(const Options& o) {
  const nlohmann::json record = {
      {"schema", 1}, {"agent", o.agent}, {"advertise", o.advertise}, {"registration", o.registration}};
  return record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Election::Election(Reactor& home, store::Kv& kv, Registry& registry, const Options& options)
    : home_(home),
      kv_(kv),
      registry_(registry),
      ttl_s_(options.lease_ttl_s),
      record_(record_of(options)),
      may_end_former_run_(options.former_run_is_over) {}

std::optional<std::string> Election::told(const char* field) const {
  if (!registry_.leader_record()) return std::nullopt;
  const auto record = nlohmann::json::parse(*registry_.leader_record(), nullptr, false);
  if (!record.is_object()) return std::nullopt;
  const auto found = record.find(field);
  if (found == record.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

// A term whose key could not be created has revision 0.
Task<Result<Election::Term>> Election::attempt() {
  Term term;
  term.granted = home_.now();
  HF_CO_TRY(const auto lease, co_await kv_.lease_grant(ttl_s_));
  term.lease = lease.id;
  store::Txn txn;
  txn.when(store::Compare::absent(registry_.leader_key()));
  txn.then(store::PutRequest(registry_.leader_key(), record_, lease.id));
  auto done = co_await kv_.txn(std::move(txn));
  if (done.ok() && done.value().succeeded) {
    term.created = done.value().revision;
    co_return term;
  }
  // Also when there was no answer: the key, should it come to be, goes with its lease.
  (co_await kv_.lease_revoke(lease.id)).ignore("it ends by itself");
  if (!done.ok()) co_return done.error();
  co_return term;
}

// Its lease would run for a while yet. Once only: what is written from now on is this run's.
Task<void> Election::end_former_run() {
  may_end_former_run_ = false;
  if (!is_own()) co_return;
  store::Txn txn;
  txn.when(store::Compare::value_is(registry_.leader_key(), record_));
  txn.then(store::DeleteRequest(registry_.leader_key()));
  const auto done = co_await kv_.txn(std::move(txn));
  if (!done.ok()) {
    HF_LOG(warn, "control", "the leadership of a former run of this agent ends by itself only",
           {"error", done.error().message()});
  }
}

Task<std::optional<Election::Term>> Election::win(StopToken stop) {
  while (!stop.stop_requested()) {
    if (registry_.complete() && may_end_former_run_) co_await end_former_run();
    if (registry_.complete() && !registry_.leader_record()) {
      auto tried = co_await attempt();
      if (tried.ok() && tried.value().created != 0) co_return tried.value();
      if (!tried.ok()) {
        HF_LOG(warn, "control", "cannot stand for election", {"error", tried.error().message()});
      }
    }
    co_await home_.sleep(retry, stop);
  }
  co_return std::nullopt;
}

Task<void> Election::hold(Term term, StopToken stop) {
  const Nanos ttl = std::chrono::seconds(ttl_s_);
  sure_until_ = term.granted + ttl;
  Nanos pause = ttl / 4;
  while (!stop.stop_requested()) {
    co_await home_.sleep(pause, stop);
    if (stop.stop_requested()) co_return;
    const Nanos asked = home_.now();
    if (asked >= sure_until_) co_return;
    auto kept = co_await kv_.lease_keep_alive(term.lease);
    if (kept.ok()) sure_until_ = asked + ttl;
    pause = kept.ok() ? ttl / 4 : std::min<Nanos>(ttl / 4, 200ms);
    if (kept.code() == Errc::not_found || home_.now() >= sure_until_) co_return;
  }
}

Task<void> Election::resign(Term term) {
  (co_await kv_.lease_revoke(term.lease)).ignore("it ends by itself");
}

}  // namespace holdfast::control

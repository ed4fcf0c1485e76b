#include "control/registry.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "control/model/codec.h"
#include "control/model/kind.h"

namespace holdfast::control {
namespace {

constexpr std::string_view membership_suffix = "/membership";
constexpr Nanos retry_first = 100ms;
constexpr Nanos retry_last = 2s;

// "<kind>/<id>" of what follows the prefix; an empty id when it is not of that form.
std::pair<std::string, std::string> split(const std::string& rest) {
  const auto slash = rest.find('/');
  if (slash == std::string::npos) return {rest, std::string()};
  return {rest.substr(0, slash), rest.substr(slash + 1)};
}

}  // namespace

Changes& Changes::put(AnySpec spec) {
  list_.push_back({std::move(spec), false});
  return *this;
}
Changes& Changes::remove(AnySpec spec) {
  list_.push_back({std::move(spec), true});
  return *this;
}
Changes& Changes::put_membership(const Uuid& volume, const std::vector<Uuid>& replicas) {
  raw_.push_back({volume, first_membership(replicas), std::nullopt});
  return *this;
}
Changes& Changes::remove_membership(const Uuid& volume) {
  raw_.push_back({volume, std::nullopt, std::nullopt});
  return *this;
}
Changes& Changes::replace_membership(const Uuid& volume, std::string value, store::Revision read_at) {
  raw_.push_back({volume, std::move(value), read_at});
  return *this;
}

Error no_longer_leading() {
  return refusal(Kind::failed_persist,
                 "this agent no longer leads: what was asked for is finished or undone by the next one");
}

Registry::Registry(Reactor& home, store::Kv& kv, const std::string& cluster, std::size_t page_limit,
                   ById<Membership>& memberships, News& news)
    : home_(home),
      kv_(kv),
      prefix_("/holdfast/v1/clusters/" + cluster + "/"),
      page_limit_(page_limit),
      news_(news),
      memberships_(memberships),
      progress_(home),
      lost_(home) {}

std::string Registry::key_of(const AnySpec& any) const { return prefix_ + kind_and_id(any); }

std::string Registry::membership_key(const Uuid& volume) const {
  return prefix_ + "volume/" + volume.to_string() + std::string(membership_suffix);
}

CreationOrder* Registry::order_of(const std::string& kind) noexcept {
  if (kind == "volume") return &order_.volumes;
  if (kind == "snapshot") return &order_.snapshots;
  if (kind == "app_node") return &order_.app_nodes;
  return nullptr;
}

void Registry::know(const std::string& key, store::Revision changed, store::Revision created) {
  Known& known = known_[key];
  const auto [kind, id] = split(key.substr(prefix_.size()));
  CreationOrder* order = order_of(kind);
  // What belongs to a record is no record of its own.
  if (order != nullptr && known.created != created && !id.ends_with(membership_suffix)) {
    order->remove(known.created, id);
    order->add(created, id);
  }
  known = {changed, created};
}

void Registry::know_gone(const std::string& key) {
  const auto known = known_.find(key);
  if (known == known_.end()) return;
  const auto [kind, id] = split(key.substr(prefix_.size()));
  if (CreationOrder* order = order_of(kind)) order->remove(known->second.created, id);
  known_.erase(known);
}

// ---- following

void Registry::forget_all() {
  news_.everything();
  index_ = Index();
  specs_ = Specs();
  memberships_.clear();
  digests_ = RecordDigests();
  known_.clear();
  order_ = {};
  gone_.clear();
  unreadable_.clear();
  leader_record_.reset();
  loaded_ = false;
}

void Registry::set_membership(const Uuid& volume, std::optional<Membership> record) {
  news_.of_volume(volume);
  if (record) {
    digests_.memberships[volume] = Digest().add(to_json(*record)).value();
    memberships_[volume] = std::move(*record);
  } else {
    digests_.memberships.erase(volume);
    memberships_.erase(volume);
  }
}

void Registry::apply_record(const std::string& key, const std::string& value) {
  if (key == leader_key()) {
    leader_record_ = value;
    return;
  }
  auto [kind, id] = split(key.substr(prefix_.size()));
  if (kind == "volume" && id.ends_with(membership_suffix)) {
    auto uuid = Uuid::parse(id.substr(0, id.size() - membership_suffix.size()));
    if (!uuid.ok()) return;
    auto record = parse_membership(key, value);
    if (!record.ok()) HF_LOG(error, "control", record.error().message());
    // A record that cannot be read calls nobody healthy: nothing is let go of.
    set_membership(uuid.value(), record.ok() ? std::move(record).value() : Membership());
    return;
  }
  auto parsed = parse_any(key, kind, id, value);
  if (!parsed.ok()) {
    HF_LOG(error, "control", "a record cannot be read: this agent changes nothing until it is repaired",
           {"error", parsed.error().message()});
    unreadable_[key] = parsed.error().message();
    return;
  }
  unreadable_.erase(key);
  if (!parsed.value()) return;
  note_digest(*parsed.value(), value);
  insert(specs_, index_, news_, std::move(*parsed.value()));
}

void Registry::note_digest(const AnySpec& spec, const std::string& json) {
  if (const auto* volume = std::get_if<VolumeSpec>(&spec))
    digests_.volumes[volume->uuid] = Digest().add(json).value();
  if (const auto* nexus = std::get_if<NexusSpec>(&spec))
    digests_.nexuses[nexus->uuid] = Digest().add(json).value();
}

void Registry::drop_digest(const std::string& kind, const std::string& id) {
  const auto uuid = Uuid::parse(id);
  if (!uuid.ok()) return;
  if (kind == "volume") digests_.volumes.erase(uuid.value());
  if (kind == "nexus") digests_.nexuses.erase(uuid.value());
}

void Registry::apply_removal(const std::string& key) {
  unreadable_.erase(key);
  if (key == leader_key()) {
    leader_record_.reset();
    return;
  }
  auto [kind, id] = split(key.substr(prefix_.size()));
  if (kind == "volume" && id.ends_with(membership_suffix)) {
    auto uuid = Uuid::parse(id.substr(0, id.size() - membership_suffix.size()));
    if (uuid.ok()) set_membership(uuid.value(), std::nullopt);
    return;
  }
  if (const auto gone = only_id(kind, id)) erase(specs_, index_, news_, *gone);
  drop_digest(kind, id);
}

void Registry::apply(const store::KeyEvent& event) {
  const std::string& key = event.kv.key;
  if (!key.starts_with(prefix_)) return;
  const auto known = known_.find(key);
  if (known != known_.end() && event.kv.mod_revision <= known->second.mod)
    return;  // a commit of ours, or older
  // The watch tells in the order of revisions.
  std::erase_if(gone_, [&](const auto& removal) { return removal.second < event.kv.mod_revision; });
  if (gone_.contains(key)) return;
  if (event.type == store::KeyEvent::Type::put) {
    know(key, event.kv.mod_revision, event.kv.create_revision);
    apply_record(key, event.kv.value);
  } else {
    know_gone(key);
    apply_removal(key);
  }
}

Task<Status> Registry::load_page(store::KeyRange range, store::Revision& revision, std::string& next,
                                 std::vector<store::KeyValue>& into) {
  store::RangeRequest request(std::move(range));
  request.limit = static_cast<std::int64_t>(page_limit_);
  request.revision = revision;
  HF_CO_TRY(auto page, co_await kv_.range(std::move(request)));
  if (revision == 0) revision = page.revision;
  next = page.more && !page.kvs.empty() ? page.kvs.back().key + std::string(1, '\0') : std::string();
  std::move(page.kvs.begin(), page.kvs.end(), std::back_inserter(into));
  co_return Status();
}

// Everything as of one revision. Until it is complete, what was known before is shown.
Task<Status> Registry::load() {
  store::Revision revision = 0;
  std::vector<store::KeyValue> all;
  store::KeyRange range = store::KeyRange::prefix(prefix_);
  for (;;) {
    std::string next;
    HF_CO_CHECK(co_await load_page(range, revision, next, all));
    if (next.empty()) break;
    range.key = next;
  }
  if (in_term_) co_return Status();  // it began meanwhile, on what was here
  forget_all();
  for (const store::KeyValue& kv : all) {
    know(kv.key, kv.mod_revision, kv.create_revision);
    apply_record(kv.key, kv.value);
  }
  followed_ = revision;
  loaded_ = true;
  co_return Status();
}

Task<Status> Registry::watch_changes(StopToken stop) {
  store::WatchRequest request(store::KeyRange::prefix(prefix_), followed_ + 1);
  HF_CO_TRY(const auto watch, co_await kv_.watch(std::move(request)));
  std::optional<Error> ended;
  while (!stop.stop_requested()) {
    auto batch = co_await watch->next(no_deadline, stop);
    if (!batch.ok()) {
      ended = batch.error();
      break;
    }
    for (const store::KeyEvent& event : batch.value().events) apply(event);
    followed_ = std::max(followed_, batch.value().revision);
    progress_.wake_all();
    if (!batch.value().events.empty()) news_.anything();
  }
  co_await watch->close();
  if (ended) co_return *ended;
  co_return Status();
}

Task<Status> Registry::load_and_watch(StopToken stop) {
  // In a term, what is here is what the commits of this agent stand on: it is only ever brought forward.
  if (!in_term_) HF_CO_CHECK(co_await load());
  progress_.wake_all();
  news_.anything();
  co_return co_await watch_changes(stop);
}

Task<void> Registry::follow(StopToken stop) {
  while (!stop.stop_requested()) {
    const Status followed = co_await load_and_watch(stop);
    if (followed.ok() || stop.stop_requested()) continue;
    HF_LOG(warn, "control", "the store cannot be followed; trying again",
           {"error", followed.error().message()});
    if (followed.code() == Errc::out_of_range && in_term_) lost_.set();
    co_await home_.sleep(1s, stop);
  }
  progress_.wake_all();
}

Task<bool> Registry::caught_up(store::Revision revision, StopToken stop) {
  while (followed_ < revision || !loaded_) {
    const Wake woken = co_await progress_.wait(no_deadline, stop);
    if (woken != Wake::signalled || stop.stop_requested()) co_return false;
  }
  co_return true;
}

Task<Result<std::optional<StoredMembership>>> Registry::read_membership(Uuid volume) {
  const std::string key = membership_key(volume);
  store::RangeRequest request(key);
  const auto answered = co_await kv_.range(std::move(request));
  if (!answered.ok()) co_return refusal(Kind::unavailable, "the store: " + answered.error().message());
  std::optional<StoredMembership> found;
  if (answered.value().kvs.empty()) co_return found;
  const store::KeyValue& kv = answered.value().kvs.front();
  auto parsed = parse_membership(key, kv.value);
  if (!parsed.ok()) co_return refusal(Kind::internal, parsed.error().message());
  found.emplace();
  found->text = kv.value;
  found->membership = std::move(parsed).value();
  found->revision = kv.mod_revision;
  co_return found;
}

// ---- committing

void Registry::begin_term(store::Revision leader_created, StopToken stop) noexcept {
  leader_created_ = leader_created;
  term_ = stop;
  in_term_ = true;
  ++term_number_;
  lost_.reset();
}

void Registry::end_term() noexcept { in_term_ = false; }

store::Txn Registry::make_txn(const Changes& changes) const {
  store::Txn txn;
  txn.when(store::Compare::create_revision_is(leader_key(), leader_created_));
  txn.otherwise(store::RangeRequest(leader_key()));
  for (const auto& one : changes.list_) {
    const std::string key = key_of(one.spec);
    const auto known = known_.find(key);
    txn.when(store::Compare::mod_revision_is(key, known == known_.end() ? 0 : known->second.mod));
    if (one.remove) {
      txn.then(store::DeleteRequest(key));
    } else {
      txn.then(store::PutRequest(key, json_of(one.spec)));
    }
    txn.otherwise(store::RangeRequest(key));
  }
  for (const auto& raw : changes.raw_) {
    const std::string key = membership_key(raw.volume);
    if (raw.expected) txn.when(store::Compare::mod_revision_is(key, *raw.expected));
    if (raw.value) {
      txn.then(store::PutRequest(key, *raw.value));
    } else {
      txn.then(store::DeleteRequest(key));
    }
    txn.otherwise(store::RangeRequest(key));
  }
  return txn;
}

Task<Result<Registry::Outcome>> Registry::attempt(store::Txn txn) {
  const auto wanted = txn.success;
  auto answered = co_await kv_.txn(std::move(txn));
  if (!answered.ok()) {
    const Errc code = answered.code();
    const bool refused = code == Errc::resource_exhausted || code == Errc::invalid_argument;
    if (refused || !in_term_) co_return answered.error();
    co_return Outcome();
  }
  if (answered.value().succeeded) co_return Outcome{Fate::done, answered.value().revision};
  const auto& seen = answered.value().results;
  const auto& leader = std::get<store::RangeResult>(seen[0].what);
  if (leader.kvs.empty() || leader.kvs.front().create_revision != leader_created_)
    co_return Outcome{Fate::lost};
  // An earlier try of ours was done, if everything is as it would have made it.
  store::Revision at = 0;
  for (std::size_t i = 1; i < seen.size(); ++i) {
    const auto& now = std::get<store::RangeResult>(seen[i].what);
    const auto* put = std::get_if<store::PutRequest>(&wanted[i - 1].what);
    const bool as_wanted =
        put == nullptr ? now.kvs.empty() : !now.kvs.empty() && now.kvs.front().value == put->value;
    if (!as_wanted) co_return Outcome{Fate::overtaken};
    if (!now.kvs.empty()) at = std::max(at, now.kvs.front().mod_revision);
  }
  co_return Outcome{Fate::done, at != 0 ? at : answered.value().revision};
}

void Registry::adopt(const Changes& changes, store::Revision revision) {
  for (const auto& one : changes.list_) {
    const std::string key = key_of(one.spec);
    if (one.remove) {
      erase(specs_, index_, news_, one.spec);
      const auto [kind, id] = split(key.substr(prefix_.size()));
      drop_digest(kind, id);
      know_gone(key);
      gone_[key] = revision;
    } else {
      insert(specs_, index_, news_, one.spec);
      note_digest(one.spec, json_of(one.spec));
      const auto known = known_.find(key);
      know(key, revision, known == known_.end() ? revision : known->second.created);
    }
  }
  for (const auto& raw : changes.raw_) {
    const std::string key = membership_key(raw.volume);
    if (!raw.value) {
      set_membership(raw.volume, std::nullopt);
      known_.erase(key);
      gone_[key] = revision;
      continue;
    }
    known_[key].mod = revision;
    auto record = parse_membership(key, *raw.value);
    if (record.ok()) set_membership(raw.volume, std::move(record).value());
  }
  news_.anything();
}

// Nobody could read it, and a record that cannot be read stops every agent.
Status Registry::check_sizes(const Changes& changes) const {
  for (const auto& one : changes.list_) {
    const std::size_t size = one.remove ? 0 : json_of(one.spec).size();
    if (size <= spec_bytes_max) continue;
    return refusal(Kind::invalid_argument,
                   fmt::format("{} would have {} bytes in the store, at most {} are allowed: give it less",
                               kind_and_id(one.spec), size, spec_bytes_max));
  }
  return Status();
}

Task<Status> Registry::commit(std::uint64_t term, Changes changes) {
  HF_CO_CHECK(check_sizes(changes));
  bool tried = false;
  Nanos pause = retry_first;
  for (;;) {
    if (!in_term_ || term != term_number_ || term_.stop_requested()) co_return no_longer_leading();
    auto outcome = co_await attempt(make_txn(changes));
    if (!outcome.ok()) {
      co_return refusal(Kind::failed_persist, "the store refused the change: " + outcome.error().message());
    }
    switch (outcome.value().fate) {
      case Fate::done:
        adopt(changes, outcome.value().revision);
        co_return Status();
      case Fate::lost:
        lost_.set();
        co_return no_longer_leading();
      case Fate::overtaken:
        co_return refusal(Kind::aborted, tried
                                             ? "the store has another value than the one that was sent to it"
                                             : "the record was changed by somebody else: try again");
      case Fate::again:
        tried = true;
        co_await home_.sleep(pause, term_);
        pause = std::min(pause * 2, retry_last);
    }
  }
}

}  // namespace holdfast::control

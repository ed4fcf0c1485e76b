// The nexuses of a process.
#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "base/split.h"
#include "block/uri.h"
#include "nexus/nexus.h"

namespace holdfast::nexus {
namespace {

bool same_request(const NexusParams& a, const NexusParams& b) {
  std::vector<std::string> ours = a.children;
  std::vector<std::string> theirs = b.children;
  std::sort(ours.begin(), ours.end());
  std::sort(theirs.begin(), theirs.end());
  return a.name == b.name && a.uuid == b.uuid && a.size_bytes == b.size_bytes && ours == theirs &&
         a.reservation == b.reservation;
}

Result<NexusParams> params_of(const Uri& uri) {
  UriParameters query(uri);
  NexusParams params;
  params.name = uri.path.substr(std::min<std::size_t>(1, uri.path.size()));
  if (params.name.empty())
    return Error(Errc::invalid_argument,
                 fmt::format("'{}' has no name; use nexus:///name?size=..", uri.text));
  HF_TRY(const auto size, query.take_size("size"));
  if (!size) return Error(Errc::invalid_argument, fmt::format("'{}' has no size=", uri.text));
  params.size_bytes = *size;
  HF_TRY(const auto uuid, query.take_uuid());
  params.uuid = uuid ? *uuid : Uuid::from_name(uri.text);
  const auto children = query.take("children");
  if (children) params.children = split_at_commas(*children);
  HF_CHECK(query.finish());
  return params;
}

// Nobody finds it from now on.
Task<void> end(DeviceRegistry& registry, Nexus& nexus) {
  const std::unique_ptr<BlockDevice> last = registry.withdraw(nexus);
  co_await nexus.close();
}

}  // namespace

Nexuses::Nexuses(DeviceRegistry& registry, MembershipStore& store, NexusOptions options,
                 NexusObserver* observer)
    : registry_(registry), store_(store), options_(options), observer_(observer) {}

Nexuses::~Nexuses() { HF_ASSERT(nexuses_.empty()); }

Task<Result<Nexus*>> Nexuses::create(NexusParams params) {
  for (Nexus* existing : nexuses_) {
    const NexusParams& other = existing->params();
    if (other.name != params.name && other.uuid != params.uuid) continue;
    if (same_request(other, params)) co_return existing;
    co_return Error(Errc::already_exists,
                    fmt::format("nexus '{}' ({}) exists already with another name, uuid, size or children; "
                                "destroy it or choose others",
                                other.name, other.uuid.to_string()));
  }
  for (const NexusParams* other : being_made_) {
    if (other->name != params.name && other->uuid != params.uuid) continue;
    co_return Error(Errc::already_exists, fmt::format("nexus '{}' ({}) is being created by another request",
                                                      other->name, other->uuid.to_string()));
  }
  if (params.name.empty()) co_return Error(Errc::invalid_argument, "a nexus needs a name");
  if (registry_.find(params.name) != nullptr) {
    co_return Error(Errc::already_exists,
                    fmt::format("a device named '{}' exists already; choose another name", params.name));
  }
  // Others are created and destroyed meanwhile: opening the children of one may take long.
  being_made_.push_back(&params);
  auto created = co_await Nexus::create(registry_, store_, params, options_, observer_);
  std::erase(being_made_, &params);
  HF_CO_TRY(std::unique_ptr<Nexus> made, std::move(created));
  Nexus* nexus = made.get();
  std::unique_ptr<BlockDevice> device = std::move(made);
  if (auto adopted = registry_.adopt(std::move(device)); !adopted.ok()) {
    co_await device->close();
    co_return adopted.error();
  }
  nexuses_.push_back(nexus);
  co_return nexus;
}

Task<Status> Nexuses::destroy(Uuid uuid) {
  HF_CO_TRY(Nexus * nexus, find(uuid));
  const auto entry = registry_.entries().find(nexus->name());
  if (entry != registry_.entries().end() && !entry->second.claimed_by.empty()) {
    co_return Error(Errc::failed_precondition, fmt::format("nexus '{}' is in use by {}; end that first",
                                                           nexus->name(), entry->second.claimed_by));
  }
  // From now on nobody finds it.
  std::erase(nexuses_, nexus);
  const std::unique_ptr<BlockDevice> last = registry_.withdraw(*nexus);
  const Status forgotten = co_await registry_.forget_reservations(*nexus);
  if (!forgotten.ok()) {
    HF_LOG(warn, "nexus", "what hosts reserved is still on record", {"nexus", nexus->name()},
           {"error", forgotten.error()});
  }
  co_await nexus->close();
  co_return Status();
}

Result<Nexus*> Nexuses::find(const Uuid& uuid) const {
  for (Nexus* n : nexuses_) {
    if (n->params().uuid == uuid) return n;
  }
  return Error(Errc::not_found, fmt::format("no nexus with uuid {}", uuid.to_string()));
}

Result<Nexus*> Nexuses::find(std::string_view nexus_name) const {
  for (Nexus* n : nexuses_) {
    if (n->params().name == nexus_name) return n;
  }
  return Error(Errc::not_found, fmt::format("no nexus named '{}'", nexus_name));
}

std::vector<Nexus*> Nexuses::list() const {
  std::vector<Nexus*> all = nexuses_;
  std::sort(all.begin(), all.end(),
            [](const Nexus* a, const Nexus* b) { return a->params().name < b->params().name; });
  return all;
}

Task<void> Nexuses::close_unused() {
  const auto is_unused = [this](const Nexus* n) {
    const auto entry = registry_.entries().find(n->name());
    return entry == registry_.entries().end() || entry->second.claimed_by.empty();
  };
  for (;;) {
    const auto next = std::find_if(nexuses_.begin(), nexuses_.end(), is_unused);
    if (next == nexuses_.end()) co_return;
    Nexus& unused = **next;
    nexuses_.erase(next);
    co_await end(registry_, unused);
  }
}

Task<void> Nexuses::close() {
  co_await close_unused();
  while (!nexuses_.empty()) {
    Nexus& last = *nexuses_.back();
    nexuses_.pop_back();
    co_await end(registry_, last);
  }
}

void Nexuses::add_scheme() {
  DeviceRegistry::Scheme scheme;
  scheme.name = [](const Uri& uri) -> Result<std::string> {
    HF_TRY(const NexusParams params, params_of(uri));
    return params.name;
  };
  scheme.create = [this](const Uri& uri) -> Task<Result<std::unique_ptr<BlockDevice>>> {
    HF_CO_TRY(NexusParams params, params_of(uri));
    auto made = co_await Nexus::create(registry_, store_, std::move(params), options_, observer_);
    if (!made.ok()) co_return made.error();
    co_return std::move(made).value();
  };
  registry_.add_scheme("nexus", std::move(scheme));
}

}  // namespace holdfast::nexus

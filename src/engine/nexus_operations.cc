#include "engine/nexus_operations.h"

#include <algorithm>
#include <limits>
#include <optional>

#include <fmt/format.h>

#include "block/uri.h"
#include "engine/naming.h"
#include "engine/nexus_messages.h"
#include "engine/sharing.h"
#include "engine/stacking.h"

namespace holdfast::engine::nexus_operations {

using google::protobuf::Empty;
using nexus::Nexus;

v1::Nexus describe(Engine& engine, const Nexus& n) {
  v1::Nexus message = to_message(n.view());
  if (const auto* shared = engine.exports().find(n.name())) {
    message.set_device_uri(shared->uri);
    message.set_ana_state(static_cast<v1::NvmeAnaState>(shared->ana));
    message.mutable_allowed_hosts()->Add(shared->allowed_hosts.begin(), shared->allowed_hosts.end());
  }
  return message;
}

namespace {

Error bad(std::string text) { return Error(Errc::invalid_argument, std::move(text)); }

// A nexus that no other operation works on meanwhile.
struct LockedNexus {
  KeyedLocks::Lock lock;
  Nexus* nexus;
  LockedNexus(KeyedLocks::Lock l, Nexus& n) noexcept : lock(std::move(l)), nexus(&n) {}
};

Task<Result<LockedNexus>> lock_nexus(Engine& engine, const char* field, const std::string& text) {
  HF_CO_TRY(const Uuid uuid, to_uuid(field, text));
  HF_CO_TRY(auto lock, co_await engine.locks().acquire(Engine::lock_key(uuid)));
  HF_CO_TRY(Nexus * found, engine.nexuses().find(uuid));
  co_return LockedNexus(std::move(lock), *found);
}

bool has_child(const Nexus& n, const std::string& uri) {
  const auto view = n.view();
  return std::any_of(view.children.begin(), view.children.end(),
                     [&uri](const nexus::ChildView& c) { return c.uri == uri; });
}

Status need_child(const Nexus& n, const std::string& uri) {
  HF_CHECK(Uri::parse(uri));
  if (has_child(n, uri)) return Status();
  return Error(Errc::not_found, fmt::format("nexus {} has no child {}", n.view().uuid.to_string(), uri));
}

// A device that a request names and that is missing, or belongs to somebody else, is an error of the request.
Error of_request(const Error& e) {
  if (e.code() != Errc::not_found && e.code() != Errc::busy) return e;
  return Error(Errc::invalid_argument, e.message());
}

// For calls that are: find the nexus and its child, do one thing, show the nexus.
template <class Reply>
Task<Result<Reply>> with_child(Engine& engine, const char* field, const std::string& uuid,
                               const std::string& uri, Task<Status> (Nexus::*act)(std::string)) {
  HF_CO_TRY(auto locked, co_await lock_nexus(engine, field, uuid));
  HF_CO_CHECK(need_child(*locked.nexus, uri));
  HF_CO_CHECK(co_await (locked.nexus->*act)(uri));
  Reply reply;
  *reply.mutable_nexus() = describe(engine, *locked.nexus);
  co_return reply;
}

}  // namespace

Task<Result<v1::CreateNexusResponse>> create(Engine& engine, const v1::CreateNexusRequest& request) {
  HF_CO_TRY(auto params, to_params(request));
  HF_CO_TRY(auto lock, co_await engine.locks().acquire(Engine::lock_key(params.uuid)));
  const Uuid uuid = params.uuid;
  auto created = co_await engine.nexuses().create(std::move(params));
  if (!created.ok()) co_return of_request(created.error());
  engine.set_controller_ids(uuid, controller_ids(request));
  v1::CreateNexusResponse reply;
  *reply.mutable_nexus() = describe(engine, *created.value());
  co_return reply;
}

Task<Result<Empty>> destroy(Engine& engine, const v1::DestroyNexusRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_nexus(engine, "uuid", request.uuid()));
  const Uuid uuid = locked.nexus->params().uuid;
  // On its way out its device is found, but is no nexus any more.
  HF_CO_TRY(const auto device, co_await engine.locks().acquire(Exports::lock_key(locked.nexus->name())));
  // Hosts keep one that cannot go.
  if (const std::string by = engine.exports().other_user(locked.nexus->name()); !by.empty()) {
    co_return Error(Errc::failed_precondition,
                    fmt::format("nexus '{}' is in use by {}; end that first", locked.nexus->name(), by));
  }
  HF_CO_CHECK(co_await engine.exports().unshare(locked.nexus->name()));
  HF_CO_CHECK(co_await engine.nexuses().destroy(uuid));
  engine.forget_controller_ids(uuid);
  co_return Empty();
}

Task<Result<v1::ResizeNexusResponse>> resize(Engine& engine, const v1::ResizeNexusRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_nexus(engine, "uuid", request.uuid()));
  if (request.requested_size() == 0) co_return bad("requested_size: 0 bytes");
  HF_CO_CHECK(co_await locked.nexus->resize(request.requested_size()));
  v1::ResizeNexusResponse reply;
  *reply.mutable_nexus() = describe(engine, *locked.nexus);
  co_return reply;
}

Task<Result<v1::ListNexusResponse>> list(Engine& engine, const v1::ListNexusOptions& request) {
  std::optional<Uuid> wanted;
  if (request.has_uuid()) {
    HF_CO_TRY(wanted, to_uuid("uuid", request.uuid().value()));
  }
  v1::ListNexusResponse reply;
  for (const Nexus* n : engine.nexuses().list()) {
    if (request.has_name() && request.name().value() != n->name()) continue;
    if (wanted && *wanted != n->params().uuid) continue;
    *reply.add_nexus_list() = describe(engine, *n);
  }
  co_return reply;
}

Task<Result<v1::ShutdownNexusResponse>> shutdown(Engine& engine, const v1::ShutdownNexusRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_nexus(engine, "uuid", request.uuid()));
  HF_CO_CHECK(co_await locked.nexus->shutdown());
  v1::ShutdownNexusResponse reply;
  *reply.mutable_nexus() = describe(engine, *locked.nexus);
  co_return reply;
}

Task<Result<v1::PublishNexusResponse>> publish(Engine& engine, const v1::PublishNexusRequest& request) {
  constexpr std::size_t legacy_key_bytes = 16;
  if (!request.key().empty() && request.key().size() != legacy_key_bytes) {
    co_return bad(fmt::format("key: {} bytes; it is unused, and either empty or of {} bytes",
                              request.key().size(), legacy_key_bytes));
  }
  HF_CO_CHECK(check_protocol(request.share()));
  Exports::Request how;
  HF_CO_TRY(how.allowed_hosts, allowed_hosts(request.allowed_hosts()));
  HF_CO_TRY(auto locked, co_await lock_nexus(engine, "uuid", request.uuid()));
  how.is_nexus = true;
  const auto ids = engine.controller_ids(locked.nexus->params().uuid);
  how.cntlid_min = ids.min;
  how.cntlid_max = ids.max;
  HF_CO_CHECK(co_await engine.exports().share(*locked.nexus, std::move(how)));
  v1::PublishNexusResponse reply;
  *reply.mutable_nexus() = describe(engine, *locked.nexus);
  co_return reply;
}

Task<Result<v1::UnpublishNexusResponse>> unpublish(Engine& engine, const v1::UnpublishNexusRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_nexus(engine, "uuid", request.uuid()));
  HF_CO_CHECK(co_await engine.exports().unshare(locked.nexus->name()));
  v1::UnpublishNexusResponse reply;
  *reply.mutable_nexus() = describe(engine, *locked.nexus);
  co_return reply;
}

Task<Result<v1::GetNvmeAnaStateResponse>> get_ana(Engine& engine, const v1::GetNvmeAnaStateRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_nexus(engine, "uuid", request.uuid()));
  const auto* shared = engine.exports().find(locked.nexus->name());
  if (shared == nullptr) co_return bad(fmt::format("nexus {} is not published", request.uuid()));
  v1::GetNvmeAnaStateResponse reply;
  reply.set_ana_state(static_cast<v1::NvmeAnaState>(shared->ana));
  co_return reply;
}

Task<Result<v1::SetNvmeAnaStateResponse>> set_ana(Engine& engine, const v1::SetNvmeAnaStateRequest& request) {
  const auto wanted = request.ana_state();
  if (wanted != v1::NVME_ANA_OPTIMIZED_STATE && wanted != v1::NVME_ANA_NON_OPTIMIZED_STATE &&
      wanted != v1::NVME_ANA_INACCESSIBLE_STATE) {
    co_return bad(fmt::format("ana_state: {} cannot be set; use OPTIMIZED, NON_OPTIMIZED or INACCESSIBLE",
                              static_cast<int>(wanted)));
  }
  HF_CO_TRY(auto locked, co_await lock_nexus(engine, "uuid", request.uuid()));
  if (engine.exports().find(locked.nexus->name()) == nullptr) {
    co_return bad(fmt::format("nexus {} is not published", request.uuid()));
  }
  HF_CO_CHECK(co_await engine.exports().set_ana(locked.nexus->name(), static_cast<nvme::AnaState>(wanted)));
  v1::SetNvmeAnaStateResponse reply;
  *reply.mutable_nexus() = describe(engine, *locked.nexus);
  co_return reply;
}

Task<Result<v1::AddChildNexusResponse>> add_child(Engine& engine, const v1::AddChildNexusRequest& request) {
  return add_child(engine, request, 0);
}

Task<Result<v1::AddChildNexusResponse>> add_child(Engine& engine, const v1::AddChildNexusRequest& request,
                                                  std::uint32_t in_sync_through) {
  HF_CO_TRY(auto locked, co_await lock_nexus(engine, "uuid", request.uuid()));
  HF_CO_CHECK(Uri::parse(request.uri()));
  if (has_child(*locked.nexus, request.uri())) {
    co_return Error(Errc::already_exists,
                    fmt::format("nexus {} has the child {} already", request.uuid(), request.uri()));
  }
  const BlockDevice* const own = locked.nexus;
  const auto is_own = [own](const BlockDevice& d) { return &d == own; };
  if (reaches(engine, request.uri(), is_own))
    co_return bad(fmt::format("child {} lies on nexus '{}' itself", request.uri(), locked.nexus->name()));
  auto added = co_await locked.nexus->add_child(request.uri(), request.norebuild(), in_sync_through);
  if (!added.ok()) co_return of_request(added.error());
  v1::AddChildNexusResponse reply;
  *reply.mutable_nexus() = describe(engine, *locked.nexus);
  co_return reply;
}

Task<Result<v1::RemoveChildNexusResponse>> remove_child(Engine& engine,
                                                        const v1::RemoveChildNexusRequest& request) {
  return with_child<v1::RemoveChildNexusResponse>(engine, "uuid", request.uuid(), request.uri(),
                                                  &Nexus::remove_child);
}

Task<Result<v1::FaultNexusChildResponse>> fault_child(Engine& engine,
                                                      const v1::FaultNexusChildRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_nexus(engine, "uuid", request.uuid()));
  HF_CO_CHECK(need_child(*locked.nexus, request.uri()));
  HF_CO_CHECK(co_await locked.nexus->fault_child(request.uri(), nexus::Fault::offline_permanent));
  v1::FaultNexusChildResponse reply;
  *reply.mutable_nexus() = describe(engine, *locked.nexus);
  co_return reply;
}

namespace {

Task<Status> act_on_child(Nexus& n, std::string uri, v1::ChildAction action) {
  switch (action) {
    case v1::ChildAction::Offline:
      return n.offline_child(std::move(uri));
    case v1::ChildAction::Online:
      return n.online_child(std::move(uri));
    case v1::ChildAction::FaultIOError:
      return n.fault_child(std::move(uri), nexus::Fault::io_error);
    case v1::ChildAction::OfflinePermanent:
      return n.fault_child(std::move(uri), nexus::Fault::offline_permanent);
    default:  // protobuf keeps unknown numbers; the caller refused them
      panic("unknown child action");
  }
}

Task<Result<v1::Nexus>> try_child_operation(Engine& engine, const v1::ChildOperationRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_nexus(engine, "nexus_uuid", request.nexus_uuid()));
  HF_CO_CHECK(need_child(*locked.nexus, request.uri()));
  auto done = co_await act_on_child(*locked.nexus, request.uri(), request.action());
  if (done.code() == Errc::busy) co_return done.error();  // it is still leaving
  if (!done.ok()) co_return of_request(done.error());
  co_return describe(engine, *locked.nexus);
}

}  // namespace

Task<Result<v1::ChildOperationResponse>> child_operation(Engine& engine,
                                                         const v1::ChildOperationRequest& request) {
  // A child that was lost is still leaving until nothing that was sent to it can happen any more: as long as
  // the keep alive time of its target. The callers of Online mean "as soon as possible".
  constexpr Nanos patience = 12s;
  constexpr Nanos pause = 50ms;
  if (!v1::ChildAction_IsValid(request.action())) {
    co_return bad(fmt::format("action: {} is not an action", static_cast<int>(request.action())));
  }
  Reactor& home = engine.cores().home();
  const Nanos until = home.now() + patience;
  for (;;) {
    auto done = co_await try_child_operation(engine, request);
    if (done.ok()) {
      v1::ChildOperationResponse reply;
      *reply.mutable_nexus() = std::move(done).value();
      co_return reply;
    }
    if (done.code() != Errc::busy || home.now() >= until || engine.port().gate().closed())
      co_return done.error();
    co_await home.sleep(pause);
  }
}

Task<Result<v1::StartRebuildResponse>> start_rebuild(Engine& engine, const v1::StartRebuildRequest& request) {
  return with_child<v1::StartRebuildResponse>(engine, "nexus_uuid", request.nexus_uuid(), request.uri(),
                                              &Nexus::start_rebuild);
}
Task<Result<v1::StopRebuildResponse>> stop_rebuild(Engine& engine, const v1::StopRebuildRequest& request) {
  return with_child<v1::StopRebuildResponse>(engine, "nexus_uuid", request.nexus_uuid(), request.uri(),
                                             &Nexus::stop_rebuild);
}
Task<Result<v1::PauseRebuildResponse>> pause_rebuild(Engine& engine, const v1::PauseRebuildRequest& request) {
  return with_child<v1::PauseRebuildResponse>(engine, "nexus_uuid", request.nexus_uuid(), request.uri(),
                                              &Nexus::pause_rebuild);
}
Task<Result<v1::ResumeRebuildResponse>> resume_rebuild(Engine& engine,
                                                       const v1::ResumeRebuildRequest& request) {
  return with_child<v1::ResumeRebuildResponse>(engine, "nexus_uuid", request.nexus_uuid(), request.uri(),
                                               &Nexus::resume_rebuild);
}

Task<Result<v1::RebuildStateResponse>> rebuild_state(Engine& engine, const v1::RebuildStateRequest& request) {
  HF_CO_TRY(const Uuid uuid, to_uuid("nexus_uuid", request.nexus_uuid()));
  HF_CO_TRY(const Nexus* n, engine.nexuses().find(uuid));
  HF_CO_TRY(const auto stats, n->rebuild_stats(request.uri()));
  v1::RebuildStateResponse reply;
  // The contract's word for a job at work.
  reply.set_state(stats.state == nexus::RebuildState::rebuilding ? "running"
                                                                 : std::string(name(stats.state)));
  co_return reply;
}

Task<Result<v1::RebuildStatsResponse>> rebuild_stats(Engine& engine, const v1::RebuildStatsRequest& request) {
  HF_CO_TRY(const Uuid uuid, to_uuid("nexus_uuid", request.nexus_uuid()));
  HF_CO_TRY(const Nexus* n, engine.nexuses().find(uuid));
  HF_CO_TRY(const auto stats, n->rebuild_stats(request.uri()));
  co_return to_message(stats);
}

Task<Result<v1::RebuildHistoryResponse>> rebuild_history(Engine& engine,
                                                         const v1::RebuildHistoryRequest& request) {
  HF_CO_TRY(const Uuid uuid, to_uuid("uuid", request.uuid()));
  HF_CO_TRY(const Nexus* n, engine.nexuses().find(uuid));
  const auto records = n->rebuild_history();
  co_return to_message(n->view(), records, records.size(), WallTime{});
}

Task<Result<v1::ListRebuildHistoryResponse>> list_history(Engine& engine,
                                                          const v1::ListRebuildHistoryRequest& request) {
  WallTime since{};
  if (request.has_since_end_time()) {
    HF_CO_TRY(since, to_wall_time(request.since_end_time()));
  }
  std::size_t count = std::numeric_limits<std::size_t>::max();
  if (request.has_count()) count = request.count();
  v1::ListRebuildHistoryResponse reply;
  WallTime newest = since;
  for (const Nexus* n : engine.nexuses().list()) {
    const auto records = n->rebuild_history();
    auto history = to_message(n->view(), records, count, since);
    if (history.records().empty()) continue;
    newest = std::max(newest, records.back().end_time);
    (*reply.mutable_histories())[n->params().uuid.to_string()] = std::move(history);
  }
  if (newest != WallTime{}) *reply.mutable_end_time() = to_message(newest);
  co_return reply;
}

}  // namespace holdfast::engine::nexus_operations

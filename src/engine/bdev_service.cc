#include "engine/bdev_service.h"

#include <fmt/format.h>

#include "base/utf8.h"
#include "engine/answer.h"
#include "engine/grpc_status.h"
#include "engine/naming.h"
#include "engine/sharing.h"

namespace holdfast::engine {

namespace v1 = mayastor::v1;
using google::protobuf::Empty;

namespace {

std::string joined(const std::vector<std::string>& parts) { return fmt::format("{}", fmt::join(parts, ",")); }

v1::Bdev to_message(Engine& engine, const DeviceRegistry::Entry& entry) {
  const BlockDevice& device = *entry.device;
  v1::Bdev b;
  b.set_name(to_utf8(device.name()));
  b.set_uuid(device.identity().uuid.to_string());
  b.set_num_blocks(device.geometry().block_count);
  b.set_blk_size(device.geometry().block_bytes);
  b.set_claimed(!entry.claimed_by.empty());
  b.set_claimed_by(entry.claimed_by);
  b.set_aliases(joined(entry.aliases));
  b.set_uri(device.identity().uri);
  b.set_product_name(device.identity().product_name);
  const auto* shared = engine.exports().find(device.name());
  b.set_share_uri(shared != nullptr ? shared->uri
                                    : local_uri(to_utf8(device.name()), device.identity().uuid));
  return b;
}

v1::Bdev to_message(Engine& engine, const BlockDevice& device) {
  return to_message(engine, engine.devices().entries().find(device.name())->second);
}

Error no_device(const std::string& name) {
  return Error(Errc::not_found, fmt::format("there is no device '{}'", name.substr(0, name_bytes_max)));
}

// Nexuses and replicas have services of their own for what BdevRpc does to others.
Status check_plain(Engine& engine, const BlockDevice& device, const char* nexus_call,
                   const char* replica_call) {
  const char* what = nullptr;
  const char* call = nullptr;
  if (engine.nexuses().find(device.name()).ok()) {
    what = "nexus";
    call = nexus_call;
  } else if (engine.pools().is_volume(device)) {
    what = "replica or snapshot of a pool";
    call = replica_call;
  }
  if (what == nullptr) return Status();
  return Error(Errc::failed_precondition, fmt::format("'{}' is a {}: use {}", device.name(), what, call));
}

Task<Result<v1::CreateBdevResponse>> create(Engine& engine, const v1::CreateBdevRequest& request) {
  HF_CO_TRY(BlockDevice * device, co_await engine.devices().create(request.uri()));
  v1::CreateBdevResponse reply;
  *reply.mutable_bdev() = to_message(engine, *device);
  co_return reply;
}

// Finds a device by what a request calls it, and keeps other operations on it away meanwhile.
struct LockedDevice {
  KeyedLocks::Lock lock;
  BlockDevice* device = nullptr;
  LockedDevice(KeyedLocks::Lock l, BlockDevice& d) noexcept : lock(std::move(l)), device(&d) {}
};
Task<Result<LockedDevice>> lock_device(Engine& engine, std::string name_or_uri) {
  const BlockDevice* seen = engine.devices().find(name_or_uri);
  if (seen == nullptr) co_return no_device(name_or_uri);
  const std::string name = seen->name();
  HF_CO_TRY(auto lock, co_await engine.locks().acquire(engine.lock_key(name)));
  BlockDevice* device = engine.devices().find(name);
  if (device == nullptr) co_return no_device(name);
  co_return LockedDevice(std::move(lock), *device);
}

Task<Result<Empty>> destroy(Engine& engine, const v1::DestroyBdevRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_device(engine, request.uri()));
  const std::string name = locked.device->name();
  HF_CO_CHECK(check_plain(engine, *locked.device, "NexusRpc.DestroyNexus", "ReplicaRpc.DestroyReplica"));
  if (engine.exports().find(name) != nullptr) {
    co_return Error(Errc::failed_precondition, fmt::format("device '{}' is shared: unshare it first", name));
  }
  HF_CO_CHECK(co_await engine.devices().destroy(name));
  co_return Empty();
}

Task<Result<v1::ListBdevResponse>> list(Engine& engine, const v1::ListBdevOptions& request) {
  v1::ListBdevResponse reply;
  for (const auto& [name, entry] : engine.devices().entries()) {
    if (request.has_name() && request.name().value() != name) continue;
    if (entry.device != nullptr) *reply.add_bdevs() = to_message(engine, entry);
  }
  co_return reply;
}

Task<Result<v1::BdevShareResponse>> share(Engine& engine, const v1::BdevShareRequest& request) {
  HF_CO_CHECK(check_protocol(request.protocol()));
  HF_CO_TRY(auto hosts, allowed_hosts(request.allowed_hosts()));
  HF_CO_TRY(auto locked, co_await lock_device(engine, request.name()));
  const std::string name = locked.device->name();
  HF_CO_CHECK(check_plain(engine, *locked.device, "NexusRpc.PublishNexus", "ReplicaRpc.ShareReplica"));
  Exports::Request how;
  how.allowed_hosts = std::move(hosts);
  auto shared = co_await engine.exports().share(*locked.device, std::move(how));
  if (!shared.ok()) co_return shared.error();
  v1::BdevShareResponse reply;
  *reply.mutable_bdev() = to_message(engine, *locked.device);
  co_return reply;
}

Task<Result<Empty>> unshare(Engine& engine, const v1::BdevUnshareRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_device(engine, request.name()));
  const std::string name = locked.device->name();
  HF_CO_CHECK(check_plain(engine, *locked.device, "NexusRpc.UnpublishNexus", "ReplicaRpc.UnshareReplica"));
  HF_CO_CHECK(co_await engine.exports().unshare(name));
  co_return Empty();
}

}  // namespace

grpc::Status BdevService::Create(grpc::ServerContext* context, const v1::CreateBdevRequest* request,
                                 v1::CreateBdevResponse* reply) {
  return answer(engine_, context, request, reply, bdev_status, create);
}
grpc::Status BdevService::Destroy(grpc::ServerContext* context, const v1::DestroyBdevRequest* request,
                                  Empty* reply) {
  return answer(engine_, context, request, reply, bdev_status, destroy);
}
grpc::Status BdevService::List(grpc::ServerContext* context, const v1::ListBdevOptions* request,
                               v1::ListBdevResponse* reply) {
  return answer(engine_, context, request, reply, bdev_status, list);
}
grpc::Status BdevService::Share(grpc::ServerContext* context, const v1::BdevShareRequest* request,
                                v1::BdevShareResponse* reply) {
  return answer(engine_, context, request, reply, bdev_status, share);
}
grpc::Status BdevService::Unshare(grpc::ServerContext* context, const v1::BdevUnshareRequest* request,
                                  Empty* reply) {
  return answer(engine_, context, request, reply, bdev_status, unshare);
}

}  // namespace holdfast::engine

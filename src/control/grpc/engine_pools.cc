#include <utility>

#include <fmt/format.h>

#include "control/grpc/engine_client.h"
#include "control/grpc/messages.h"

namespace holdfast::control {

Task<Status> GrpcEngine::read_pools(std::vector<PoolState>& into) {
  HF_CO_TRY(const auto reply,
            co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::ListPoolDetails,
                         own::ListPoolDetailsRequest(), timeouts_.read));
  for (const auto& pool : reply.pools()) into.push_back(pool_of(node_, pool));
  co_return Status();
}

Task<Result<std::optional<PoolState>>> GrpcEngine::find_pool(PoolId pool) {
  std::vector<PoolState> all;
  HF_CO_CHECK(co_await read_pools(all));
  for (PoolState& one : all) {
    if (one.id == pool) co_return std::optional<PoolState>(std::move(one));
  }
  co_return std::optional<PoolState>();
}

// The engine tells a pool that is there on the same disks by AlreadyExists, whether it could open it or not.
Task<Result<PoolState>> GrpcEngine::open_or_make(NewPool r, bool make) {
  std::optional<Error> refused;
  if (!make) {
    v1::ImportPoolRequest request;
    request.set_name(r.pool);
    if (r.uuid) request.mutable_uuid()->set_value(r.uuid->to_string());
    for (const auto& disk : r.disks) request.add_disks(disk);
    auto reply = co_await ask(*stubs_->pool->async(), &Async<v1::PoolRpc>::ImportPool, std::move(request),
                              timeouts_.pool);
    if (reply.ok()) co_return pool_of(node_, reply.value());
    refused.emplace(reply.error());
  } else {
    own::CreatePoolRequest request;
    request.set_name(r.pool);
    if (r.uuid) request.set_uuid(r.uuid->to_string());
    for (const auto& disk : r.disks) request.add_disks(disk);
    if (r.cluster_bytes) request.set_cluster_size(*r.cluster_bytes);
    request.set_force(r.overwrite);
    auto reply = co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::CreatePool,
                              std::move(request), timeouts_.pool);
    if (reply.ok()) co_return pool_of(node_, reply.value());
    refused.emplace(reply.error());
  }
  if (kind_of(*refused) != Kind::already_exists) co_return *refused;
  HF_CO_TRY(auto there, co_await find_pool(r.pool));
  const bool same = there && (!r.uuid || *r.uuid == there->uuid);
  if (!same) co_return *refused;
  if (there->status != PoolStatus::online && there->status != PoolStatus::degraded)
    co_return refusal(Kind::internal,
                      fmt::format("node {}: pool '{}' is not open: {}", node_, r.pool, there->reason));
  co_return std::move(*there);
}

Task<Result<PoolState>> GrpcEngine::create_pool(NewPool request) {
  return open_or_make(std::move(request), true);
}
Task<Result<PoolState>> GrpcEngine::import_pool(NewPool request) {
  return open_or_make(std::move(request), false);
}

Task<Status> GrpcEngine::destroy_pool(PoolId pool, std::optional<Uuid> uuid) {
  v1::DestroyPoolRequest request;
  request.set_name(std::move(pool));
  if (uuid) request.mutable_uuid()->set_value(uuid->to_string());
  HF_CO_CHECK(co_await ask(*stubs_->pool->async(), &Async<v1::PoolRpc>::DestroyPool, std::move(request),
                           timeouts_.pool));
  co_return Status();
}

Task<Status> GrpcEngine::export_pool(PoolId pool) {
  v1::ExportPoolRequest request;
  request.set_name(std::move(pool));
  return ask_away(*stubs_->pool->async(), &Async<v1::PoolRpc>::ExportPool, std::move(request),
                  timeouts_.pool);
}

Task<Result<PoolState>> GrpcEngine::add_disk(PoolId pool, std::string disk) {
  own::AddDiskRequest request;
  request.set_pool(pool);
  request.set_disk(std::move(disk));
  auto done = co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::AddDisk, std::move(request),
                           timeouts_.pool);
  if (done.ok()) co_return pool_of(node_, done.value());
  if (kind_of(done.error()) != Kind::already_exists) co_return done.error();
  HF_CO_TRY(auto there, co_await find_pool(std::move(pool)));
  if (!there) co_return done.error();
  co_return std::move(*there);
}

Task<Result<PoolState>> GrpcEngine::grow_pool(PoolId pool) {
  v1::GrowPoolRequest request;
  request.set_name(std::move(pool));
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->pool->async(), &Async<v1::PoolRpc>::GrowPool,
                                           std::move(request), timeouts_.pool));
  co_return pool_of(node_, reply.current_pool());
}

}  // namespace holdfast::control

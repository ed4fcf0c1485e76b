// PeerEngine: another engine, asked by gRPC for what a replica of it has. Home core. Each call ends within a few
// seconds.
//
// Errors of all: not_connected (no answer), not_found, failed_precondition, otherwise protocol; the text names
// the engine. What the other engine says is checked by whoever uses it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <grpcpp/channel.h>

#include "base/error.h"
#include "base/uuid.h"
#include "holdfast/v1/pool.grpc.pb.h"
#include "holdfast/v1/rebuild.grpc.pb.h"
#include "mayastor/v1/replica.grpc.pb.h"
#include "mayastor/v1/snapshot.grpc.pb.h"
#include "rpc/unary.h"
#include "rt/reactor.h"

namespace holdfast::engine {

class PeerEngine {
 public:
  // "host:port" of its gRPC services.
  PeerEngine(Reactor& home, std::string endpoint);

  // Of a replica, in the order in which they were made.
  Task<Result<std::vector<mayastor::v1::SnapshotInfo>>> snapshots(Uuid replica);
  // A replica or snapshot.
  Task<Result<mayastor::v1::Replica>> find(Uuid uuid);
  Task<Result<mayastor::v1::Replica>> share(Uuid uuid, std::vector<std::string> hosts);
  Task<Status> unshare(Uuid uuid);
  // A page of where two snapshots differ, from an offset on; `earlier` nullopt: what is allocated.
  Task<Result<holdfast::v1::DiffSnapshotsResponse>> diff(std::optional<Uuid> earlier, Uuid later,
                                                         std::uint64_t offset);
  Task<Result<holdfast::v1::Epochs>> epochs(Uuid uuid);
  // A page, from a region on.
  Task<Result<holdfast::v1::ListRegionEpochsResponse>> region_epochs(Uuid replica, std::uint64_t first);

 private:
  template <class Stub, class Request, class Reply>
  Task<Result<Reply>> ask(Stub& stub, rpc::detail::Method<Stub, Request, Reply> method,
                          std::type_identity_t<Request> request);

  Reactor& home_;
  const std::string endpoint_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<mayastor::v1::ReplicaRpc::Stub> replicas_;
  std::unique_ptr<mayastor::v1::SnapshotRpc::Stub> snapshots_;
  std::unique_ptr<holdfast::v1::PoolRpc::Stub> pools_;
  std::unique_ptr<holdfast::v1::ReplicaRebuildRpc::Stub> rebuilds_;
};

}  // namespace holdfast::engine

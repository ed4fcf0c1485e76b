// The services of an embedded store. gRPC's headers: for .cc files only.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "etcd/rpc.grpc.pb.h"
#include "store/store_worker.h"

namespace holdfast::store {

// What every service needs. Outlives their calls.
struct EmbeddedShared {
  StoreWorker& worker;
  std::uint64_t cluster_id = 0;
  std::uint64_t member_id = 0;
  std::function<LeaseId()> new_lease_id;  // positive; worker's thread

  void fill(etcdserverpb::ResponseHeader& header, Revision revision) const;
};

grpc::Status status_of(const Error& error);

class EmbeddedKv final : public etcdserverpb::KV::CallbackService {
 public:
  explicit EmbeddedKv(EmbeddedShared& shared) : shared_(shared) {}
  grpc::ServerUnaryReactor* Range(grpc::CallbackServerContext* context,
                                  const etcdserverpb::RangeRequest* request,
                                  etcdserverpb::RangeResponse* reply) override;
  grpc::ServerUnaryReactor* Put(grpc::CallbackServerContext* context, const etcdserverpb::PutRequest* request,
                                etcdserverpb::PutResponse* reply) override;
  grpc::ServerUnaryReactor* DeleteRange(grpc::CallbackServerContext* context,
                                        const etcdserverpb::DeleteRangeRequest* request,
                                        etcdserverpb::DeleteRangeResponse* reply) override;
  grpc::ServerUnaryReactor* Txn(grpc::CallbackServerContext* context, const etcdserverpb::TxnRequest* request,
                                etcdserverpb::TxnResponse* reply) override;
  grpc::ServerUnaryReactor* Compact(grpc::CallbackServerContext* context,
                                    const etcdserverpb::CompactionRequest* request,
                                    etcdserverpb::CompactionResponse* reply) override;

 private:
  EmbeddedShared& shared_;
};

class EmbeddedLease final : public etcdserverpb::Lease::CallbackService {
 public:
  explicit EmbeddedLease(EmbeddedShared& shared) : shared_(shared) {}
  grpc::ServerUnaryReactor* LeaseGrant(grpc::CallbackServerContext* context,
                                       const etcdserverpb::LeaseGrantRequest* request,
                                       etcdserverpb::LeaseGrantResponse* reply) override;
  grpc::ServerUnaryReactor* LeaseRevoke(grpc::CallbackServerContext* context,
                                        const etcdserverpb::LeaseRevokeRequest* request,
                                        etcdserverpb::LeaseRevokeResponse* reply) override;
  grpc::ServerUnaryReactor* LeaseTimeToLive(grpc::CallbackServerContext* context,
                                            const etcdserverpb::LeaseTimeToLiveRequest* request,
                                            etcdserverpb::LeaseTimeToLiveResponse* reply) override;
  grpc::ServerUnaryReactor* LeaseLeases(grpc::CallbackServerContext* context,
                                        const etcdserverpb::LeaseLeasesRequest* request,
                                        etcdserverpb::LeaseLeasesResponse* reply) override;
  grpc::ServerBidiReactor<etcdserverpb::LeaseKeepAliveRequest, etcdserverpb::LeaseKeepAliveResponse>*
  LeaseKeepAlive(grpc::CallbackServerContext* context) override;

 private:
  EmbeddedShared& shared_;
};

class EmbeddedWatch final : public etcdserverpb::Watch::CallbackService {
 public:
  explicit EmbeddedWatch(EmbeddedShared& shared) : shared_(shared) {}
  grpc::ServerBidiReactor<etcdserverpb::WatchRequest, etcdserverpb::WatchResponse>* Watch(
      grpc::CallbackServerContext* context) override;

 private:
  EmbeddedShared& shared_;
};

class EmbeddedMaintenance final : public etcdserverpb::Maintenance::CallbackService {
 public:
  explicit EmbeddedMaintenance(EmbeddedShared& shared) : shared_(shared) {}
  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const etcdserverpb::StatusRequest* request,
                                   etcdserverpb::StatusResponse* reply) override;

 private:
  EmbeddedShared& shared_;
};

}  // namespace holdfast::store

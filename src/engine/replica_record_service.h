// holdfast.v1.ReplicaRecordRpc: what a replica says of the volume that it is a copy of.
#pragma once

#include "engine/engine.h"
#include "holdfast/v1/record.grpc.pb.h"

namespace holdfast::engine {

class ReplicaRecordService final : public holdfast::v1::ReplicaRecordRpc::Service {
 public:
  explicit ReplicaRecordService(Engine& engine) : engine_(engine) {}

  grpc::Status SetReplicaRecord(grpc::ServerContext* context,
                                const holdfast::v1::SetReplicaRecordRequest* request,
                                holdfast::v1::ReplicaRecord* reply) override;
  grpc::Status ListReplicaRecords(grpc::ServerContext* context,
                                  const holdfast::v1::ListReplicaRecordsRequest* request,
                                  holdfast::v1::ListReplicaRecordsResponse* reply) override;

 private:
  Engine& engine_;
};

}  // namespace holdfast::engine

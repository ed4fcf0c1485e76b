// Pools on sparse files, and the calls about what is in them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "api/api_test.h"

namespace holdfast::api_test {

namespace own = holdfast::v1;
using google::protobuf::Empty;

inline constexpr std::uint64_t MB = 1 << 20;
inline constexpr const char* replica_uuid = "aaaaaaaa-0000-4000-8000-000000000001";
inline constexpr const char* replica_uuid2 = "aaaaaaaa-0000-4000-8000-000000000002";
inline constexpr const char* snapshot_uuid = "bbbbbbbb-0000-4000-8000-000000000001";
inline constexpr const char* snapshot_uuid2 = "bbbbbbbb-0000-4000-8000-000000000002";
inline constexpr const char* clone_uuid = "cccccccc-0000-4000-8000-000000000001";
inline constexpr const char* pool_uuid = "dddddddd-0000-4000-8000-000000000001";

// A call whose reply is given back with its status.
template <class Reply>
struct Outcome {
  grpc::Status status;
  Reply reply;
  const Reply* operator->() const { return &reply; }
};

class PoolApiTest : public ApiTest {
 protected:
  // A sparse file; its path.
  std::string disk(const std::string& name, std::uint64_t bytes = 128 * MB) {
    const std::string path = scratch_.path(name);
    const std::ofstream made(path, std::ios::app);
    std::filesystem::resize_file(path, bytes);
    return path;
  }

  template <class Stub, class Request, class Reply>
  Outcome<Reply> ask(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                     const Request& request) {
    Outcome<Reply> outcome;
    outcome.status = call(stub, method, request, &outcome.reply);
    return outcome;
  }

  Outcome<v1::Pool> create_pool(const std::string& name, const std::vector<std::string>& disks,
                                const std::string& with_uuid = "") {
    v1::CreatePoolRequest request;
    request.set_name(name);
    if (!with_uuid.empty()) request.mutable_uuid()->set_value(with_uuid);
    for (const auto& d : disks) request.add_disks(d);
    return ask(engine_.pool(), &v1::PoolRpc::Stub::CreatePool, request);
  }
  Outcome<v1::Pool> import_pool(const std::string& name, const std::vector<std::string>& disks,
                                const std::string& with_uuid = "") {
    v1::ImportPoolRequest request;
    request.set_name(name);
    if (!with_uuid.empty()) request.mutable_uuid()->set_value(with_uuid);
    for (const auto& d : disks) request.add_disks(d);
    return ask(engine_.pool(), &v1::PoolRpc::Stub::ImportPool, request);
  }
  grpc::Status destroy_pool(const std::string& name) {
    v1::DestroyPoolRequest request;
    request.set_name(name);
    return ask(engine_.pool(), &v1::PoolRpc::Stub::DestroyPool, request).status;
  }
  grpc::Status export_pool(const std::string& name) {
    v1::ExportPoolRequest request;
    request.set_name(name);
    return ask(engine_.pool(), &v1::PoolRpc::Stub::ExportPool, request).status;
  }
  std::vector<v1::Pool> pools() {
    const auto listed = ask(engine_.pool(), &v1::PoolRpc::Stub::ListPools, v1::ListPoolOptions());
    EXPECT_OK(listed.status);
    return {listed->pools().begin(), listed->pools().end()};
  }
  v1::Pool pool(const std::string& name) {
    for (const auto& p : pools()) {
      if (p.name() == name) return p;
    }
    ADD_FAILURE() << "no pool " << name;
    return {};
  }

  static v1::CreateReplicaRequest replica_request(const std::string& name = "r1",
                                                  const std::string& with_uuid = replica_uuid,
                                                  std::uint64_t size = 32 * MB, bool thin = true) {
    v1::CreateReplicaRequest request;
    request.set_name(name);
    request.set_uuid(with_uuid);
    request.set_pooluuid("p1");
    request.set_size(size);
    request.set_thin(thin);
    return request;
  }
  Outcome<v1::Replica> create(const v1::CreateReplicaRequest& request) {
    return ask(engine_.replica(), &v1::ReplicaRpc::Stub::CreateReplica, request);
  }
  grpc::Status destroy_replica(const std::string& which) {
    v1::DestroyReplicaRequest request;
    request.set_uuid(which);
    return ask(engine_.replica(), &v1::ReplicaRpc::Stub::DestroyReplica, request).status;
  }
  Outcome<v1::Replica> share(const std::string& which, const std::vector<std::string>& hosts = {},
                             v1::ShareProtocol protocol = v1::NVMF) {
    v1::ShareReplicaRequest request;
    request.set_uuid(which);
    request.set_share(protocol);
    for (const auto& host : hosts) request.add_allowed_hosts(host);
    return ask(engine_.replica(), &v1::ReplicaRpc::Stub::ShareReplica, request);
  }
  std::vector<v1::Replica> replicas(const v1::ListReplicaOptions& request = {}) {
    const auto listed = ask(engine_.replica(), &v1::ReplicaRpc::Stub::ListReplicas, request);
    EXPECT_OK(listed.status);
    return {listed->replicas().begin(), listed->replicas().end()};
  }
  v1::Replica replica(const std::string& which) {
    v1::ListReplicaOptions request;
    request.mutable_uuid()->set_value(which);
    const auto found = replicas(request);
    EXPECT_EQ(found.size(), 1u);
    return found.size() == 1 ? found[0] : v1::Replica();
  }

  Outcome<v1::CreateReplicaSnapshotResponse> snap(const std::string& of = replica_uuid,
                                                  const std::string& name = "s1",
                                                  const std::string& with_uuid = snapshot_uuid) {
    v1::CreateReplicaSnapshotRequest request;
    request.set_replica_uuid(of);
    request.set_snapshot_uuid(with_uuid);
    request.set_snapshot_name(name);
    request.set_entity_id("volume-7");
    request.set_txn_id("txn-3");
    return ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::CreateReplicaSnapshot, request);
  }
  grpc::Status destroy_snapshot(const std::string& which = snapshot_uuid) {
    v1::DestroySnapshotRequest request;
    request.set_snapshot_uuid(which);
    return ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::DestroySnapshot, request).status;
  }
  std::vector<v1::SnapshotInfo> snapshots(const v1::ListSnapshotsRequest& request = {}) {
    const auto listed = ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::ListSnapshot, request);
    EXPECT_OK(listed.status);
    return {listed->snapshots().begin(), listed->snapshots().end()};
  }
  Outcome<v1::Replica> clone(const std::string& of = snapshot_uuid, const std::string& name = "c1",
                             const std::string& with_uuid = clone_uuid) {
    v1::CreateSnapshotCloneRequest request;
    request.set_snapshot_uuid(of);
    request.set_clone_name(name);
    request.set_clone_uuid(with_uuid);
    return ask(engine_.snapshot(), &v1::SnapshotRpc::Stub::CreateSnapshotClone, request);
  }

  // The messages of one wipe, and how it ended.
  struct Wiped {
    std::vector<v1::WipeReplicaResponse> messages;
    grpc::Status status;
  };
  Wiped wipe(const std::string& which, v1::WipeOptions::WipeMethod method, std::uint64_t chunk_size = 0,
             std::uint32_t pattern = 0) {
    v1::WipeReplicaRequest request;
    request.set_uuid(which);
    request.mutable_wipe_options()->set_chunk_size(chunk_size);
    request.mutable_wipe_options()->mutable_options()->set_wipe_method(method);
    request.mutable_wipe_options()->mutable_options()->set_write_pattern(pattern);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    Wiped wiped;
    const auto reader = engine_.test().WipeReplica(&context, request);
    for (v1::WipeReplicaResponse m; reader->Read(&m);) wiped.messages.push_back(m);
    wiped.status = reader->Finish();
    return wiped;
  }
  // Fills a replica that nobody uses.
  void fill(const std::string& which, std::uint32_t pattern) {
    EXPECT_OK(wipe(which, v1::WipeOptions::WRITE_PATTERN, 0, pattern).status);
  }
  std::uint32_t checksum(const std::string& which) {
    const auto summed = wipe(which, v1::WipeOptions::CHECKSUM);
    EXPECT_OK(summed.status);
    return summed.messages.empty() ? 0 : summed.messages.back().crc32();
  }
  void restart(bool kill) {
    if (kill) {
      engine_.kill();
    } else {
      engine_.signal(SIGTERM);
      ASSERT_EQ(engine_.wait_exit(std::chrono::seconds(15)), 0);
    }
    ASSERT_TRUE(engine_.start());
  }
};

}  // namespace holdfast::api_test

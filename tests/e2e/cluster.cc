#include "e2e/cluster.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>

namespace holdfast::e2e {

using testing_support::call;
using testing_support::EngineProcess;

namespace {

std::string replica_uuid(std::size_t i) {
  return "00000000-0000-4000-8000-00000000000" + std::to_string(i + 1);
}

std::string whole(const std::string& path, std::uint64_t offset, std::uint64_t bytes) {
  std::ifstream in(path, std::ios::binary);
  in.seekg(static_cast<std::streamoff>(offset));
  std::string content(bytes, '\0');
  in.read(content.data(), static_cast<std::streamsize>(bytes));
  content.resize(static_cast<std::size_t>(in.gcount()));
  return content;
}

}  // namespace

Cluster::Cluster() {
  for (std::size_t i = 0; i < replicas; ++i) {
    engines_[i] = std::make_unique<EngineProcess>(scratch_, "engine" + std::to_string(i));
    const std::ofstream made(file(i));
    std::filesystem::resize_file(file(i), replica_bytes);
  }
}

bool Cluster::start() {
  return std::all_of(engines_.begin(), engines_.end(), [](auto& e) { return e->start(); });
}

void Cluster::open_replica(std::size_t i) {
  v1::CreateBdevRequest create;
  create.set_uri("aio://" + file(i) + "?blk_size=512&uuid=" + replica_uuid(i));
  v1::CreateBdevResponse created;
  auto status = call(engine(i).bdev(), &v1::BdevRpc::Stub::Create, create, &created);
  ASSERT_TRUE(status.ok()) << status.error_message();
  children_[i] = created.bdev().share_uri();
  if (i == 0) return;
  v1::BdevShareRequest share;
  share.set_name(created.bdev().name());
  share.set_protocol(v1::NVMF);
  v1::BdevShareResponse shared;
  status = call(engine(i).bdev(), &v1::BdevRpc::Stub::Share, share, &shared);
  ASSERT_TRUE(status.ok()) << status.error_message();
  children_[i] = shared.bdev().share_uri();
}

v1::Nexus Cluster::create_nexus() {
  v1::CreateNexusRequest request;
  request.set_name("volume");
  request.set_uuid(uuid);
  request.set_size(volume_bytes);
  for (const auto& c : children_) request.add_children(c);
  v1::CreateNexusResponse reply;
  const auto status = call(engine(0).nexus(), &v1::NexusRpc::Stub::CreateNexus, request, &reply);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return reply.nexus();
}

std::string Cluster::publish() {
  v1::PublishNexusRequest request;
  request.set_uuid(uuid);
  request.set_share(v1::NVMF);
  v1::PublishNexusResponse reply;
  const auto status = call(engine(0).nexus(), &v1::NexusRpc::Stub::PublishNexus, request, &reply);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return reply.nexus().device_uri();
}

v1::Nexus Cluster::nexus() {
  v1::ListNexusResponse reply;
  const auto status = call(engine(0).nexus(), &v1::NexusRpc::Stub::ListNexus, v1::ListNexusOptions(), &reply);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return reply.nexus_list_size() == 1 ? reply.nexus_list(0) : v1::Nexus();
}

bool Cluster::wait_for_state(v1::NexusState state) {
  for (int i = 0; i < 600; ++i) {
    if (nexus().state() == state) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  std::printf("%s\n", nexus().DebugString().c_str());
  return false;
}

grpc::Status Cluster::online(std::size_t i) {
  v1::ChildOperationRequest request;
  request.set_nexus_uuid(uuid);
  request.set_uri(child(i));
  request.set_action(v1::Online);
  // A child whose engine died comes back only when nothing that was sent to it can still happen.
  grpc::Status status;
  for (int attempts = 0; attempts < 300; ++attempts) {
    v1::ChildOperationResponse reply;
    status = call(engine(0).nexus(), &v1::NexusRpc::Stub::ChildOperation, request, &reply);
    if (status.error_code() != grpc::StatusCode::FAILED_PRECONDITION) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return status;
}

std::vector<v1::RebuildHistoryRecord> Cluster::history() {
  v1::RebuildHistoryRequest request;
  request.set_uuid(uuid);
  v1::RebuildHistoryResponse reply;
  const auto status = call(engine(0).nexus(), &v1::NexusRpc::Stub::GetRebuildHistory, request, &reply);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return {reply.records().begin(), reply.records().end()};
}

std::int64_t Cluster::first_difference(std::size_t a, std::size_t b) const {
  const std::string left = whole(file(a), data_offset, volume_bytes);
  const std::string right = whole(file(b), data_offset, volume_bytes);
  const auto at = std::mismatch(left.begin(), left.end(), right.begin(), right.end());
  if (at.first == left.end() && at.second == right.end()) return -1;
  return at.first - left.begin();
}

std::string Cluster::record() const {
  std::ifstream in(engines_[0]->data_dir() + "/membership/" + uuid + ".json");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string Cluster::logs() const {
  std::string all;
  for (const auto& e : engines_) all += e->log() + "\n";
  return all;
}

}  // namespace holdfast::e2e

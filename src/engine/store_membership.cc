#include "engine/store_membership.h"

#include <utility>

#include "base/assert.h"
#include "engine/kv_membership_store.h"
#include "store/etcd_client.h"

namespace holdfast::engine {
namespace {

class Connected final : public StoreMembership {
 public:
  Connected(std::unique_ptr<store::EtcdClient> client, store::Keys keys)
      : client_(std::move(client)), records_(*client_, std::move(keys)) {}

  Task<Result<std::optional<nexus::StoredRecord>>> load(std::string key) override {
    return records_.load(std::move(key));
  }
  Task<Result<std::uint64_t>> swap(std::string key, std::uint64_t expected_revision,
                                   nexus::Record next) override {
    return records_.swap(std::move(key), expected_revision, std::move(next));
  }
  Task<Status> remove(std::string key) override { return records_.remove(std::move(key)); }
  Task<void> close() override { return client_->close(); }

 private:
  std::unique_ptr<store::EtcdClient> client_;
  KvMembershipStore records_;
};

}  // namespace

Status check_store_flags(const std::vector<std::string>& endpoints, const std::string& cluster) {
  for (const std::string& text : endpoints) {
    const auto endpoint = store::parse_etcd_endpoint(text);
    if (!endpoint.ok()) return endpoint.error().with_context("--store");
  }
  const auto keys = store::Keys::of_cluster(cluster);
  if (!keys.ok()) return keys.error().with_context("--cluster");
  return Status();
}

std::unique_ptr<StoreMembership> StoreMembership::connect(Reactor& home,
                                                          const std::vector<std::string>& endpoints,
                                                          const std::string& cluster) {
  auto client = store::EtcdClient::create(home, store::EtcdOptions(endpoints));
  auto keys = store::Keys::of_cluster(cluster);
  HF_ASSERT(client.ok() && keys.ok());
  return std::make_unique<Connected>(std::move(client).value(), std::move(keys).value());
}

}  // namespace holdfast::engine

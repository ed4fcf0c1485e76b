#include "engine/store_membership.h"

#include <utility>

#include "base/assert.h"
#include "engine/kv_membership_store.h"
#include "store/etcd_client.h"
#include "store/tls_keys.h"

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

Status check_store_flags(const StoreAccess& access) {
  bool https = false;
  for (const std::string& text : access.endpoints) {
    const auto endpoint = store::parse_etcd_endpoint(text);
    if (!endpoint.ok()) return endpoint.error().with_context("--store");
    https |= text.starts_with("https://");
  }
  const auto keys = store::Keys::of_cluster(access.cluster);
  if (!keys.ok()) return keys.error().with_context("--cluster");
  const rpc::TlsPaths& tls = access.tls;
  if (tls.certificate.empty() != tls.key.empty())
    return Error(Errc::invalid_argument, "--store-cert and --store-key: give both or neither");
  const bool any = !tls.authority.empty() || !tls.certificate.empty() || !access.peer_name.empty();
  if (any && !https) {
    return Error(
        Errc::invalid_argument,
        "--store-ca, --store-cert, --store-name: no store with TLS is given; use --store https://...");
  }
  return Status();
}

Task<Result<std::unique_ptr<StoreMembership>>> StoreMembership::open(Reactor& home, StoreAccess access) {
  if (access.endpoints.empty()) co_return std::unique_ptr<StoreMembership>();
  store::EtcdOptions options(std::move(access.endpoints));
  HF_CO_TRY(options.tls,
            co_await store::load_tls_keys(home, std::move(access.tls), "--store-ca, --store-cert"));
  if (!options.tls && !access.peer_name.empty()) options.tls.emplace();
  if (options.tls) options.tls->peer_name = std::move(access.peer_name);
  HF_CO_TRY(auto client, store::EtcdClient::create(home, std::move(options)));
  auto keys = store::Keys::of_cluster(access.cluster);
  HF_ASSERT(keys.ok());  // checked
  std::unique_ptr<StoreMembership> opened =
      std::make_unique<Connected>(std::move(client), std::move(keys).value());
  co_return opened;
}

}  // namespace holdfast::engine

// EtcdClient: a Kv over the etcd v3 API: a real etcd of one or more members, or the embedded server of an agent.
//
// Calls go round the endpoints; one that does not answer is left out for a moment. Reads, and what is the same
// when it is done twice, are tried at the next endpoint until the deadline. A change is sent again only if it
// certainly never left this process; otherwise its caller hears not_connected or timed_out. A member that has
// lost its peers answers nothing (the `hasleader` rule of etcd), so it counts as away.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "rpc/tls.h"
#include "rt/reactor.h"
#include "store/kv.h"

namespace holdfast::store {

struct EtcdOptions {
  EtcdOptions() = default;
  explicit EtcdOptions(std::vector<std::string> where) : endpoints(std::move(where)) {}

  // "http://host:port", "https://host:port" or "host:port"; the port 2379 may be left out. At least one.
  std::vector<std::string> endpoints;
  // For https. Without it: the host's own authorities.
  std::optional<rpc::Tls> tls;
  Nanos call_timeout = 5s;
  // After which a call that may be repeated goes on to the next endpoint.
  Nanos attempt_timeout = 1500ms;
};

class EtcdClient final : public Kv {
 public:
  // Errors: invalid_argument, naming the endpoint. No connection is made yet.
  static Result<std::unique_ptr<EtcdClient>> create(Reactor& home, EtcdOptions options);
  ~EtcdClient() override;

  Task<Result<RangeResult>> range(RangeRequest request) override;
  Task<Result<PutResult>> put(PutRequest request) override;
  Task<Result<DeleteResult>> delete_range(DeleteRequest request) override;
  Task<Result<TxnResult>> txn(Txn request) override;
  Task<Status> compact(Revision revision) override;
  using Kv::lease_grant;
  Task<Result<Lease>> lease_grant(std::int64_t ttl_s, LeaseId id) override;
  Task<Result<std::int64_t>> lease_keep_alive(LeaseId id) override;
  Task<Status> lease_revoke(LeaseId id) override;
  Task<Result<LeaseStatus>> lease_status(LeaseId id, bool want_keys) override;
  Task<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) override;
  Task<void> close() override;

  // Identity of the etcd cluster that answers, and its version, from the Maintenance service.
  struct About {
    std::uint64_t cluster_id = 0;
    std::string version;
  };
  Task<Result<About>> about();

 private:
  class Connections;
  class WatchStream;
  explicit EtcdClient(std::unique_ptr<Connections> connections);

  std::unique_ptr<Connections> connections_;
};

// "host:port" and whether TLS is wanted. Errors: invalid_argument, naming the text.
struct EtcdEndpoint {
  std::string target;
  bool tls = false;
};
Result<EtcdEndpoint> parse_etcd_endpoint(const std::string& text);

}  // namespace holdfast::store

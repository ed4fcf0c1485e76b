// The endpoints of an EtcdClient, and a call that goes round them. gRPC's headers: for .cc files only.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "etcd/rpc.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/duplex.h"
#include "rpc/unary.h"
#include "rt/wait.h"
#include "store/etcd_client.h"

namespace holdfast::store {

class EtcdClient::Connections {
 public:
  struct Member {
    std::string name;
    bool tls = false;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<etcdserverpb::KV::Stub> kv;
    std::unique_ptr<etcdserverpb::Watch::Stub> watch;
    std::unique_ptr<etcdserverpb::Lease::Stub> lease;
    std::unique_ptr<etcdserverpb::Maintenance::Stub> maintenance;
    Nanos retry_at{0};  // left out until then
  };
  enum class Repeat : std::uint8_t { always, unsent };

  Connections(Reactor& home, EtcdOptions options, const std::vector<EtcdEndpoint>& endpoints);

  Reactor& home() noexcept { return home_; }
  const EtcdOptions& options() const noexcept { return options_; }
  Gate& gate() noexcept { return gate_; }
  bool closing() const noexcept { return stop_.stop_requested(); }
  StopToken stop_token() noexcept { return stop_.token(); }
  void request_stop() noexcept { stop_.request_stop(); }

  // The next one in turn that has not failed lately, or the one that failed first.
  Member& pick();
  void failed(Member& member) { member.retry_at = home_.now() + left_out; }
  rpc::CallOptions call_options(Nanos timeout);
  // What a status means here; the member is left out when it is away.
  Error error_of(Member& member, const grpc::Status& status);
  // The request has certainly not been sent.
  static bool never_sent(const grpc::Status& status);
  Error cancelled() const { return Error(Errc::cancelled, "the store's client is closed"); }

  template <class Stub, class Async, class Request, class Reply>
  Task<Result<Reply>> call(std::unique_ptr<Stub> Member::*stub,
                           rpc::detail::Method<Async, Request, Reply> method,
                           std::type_identity_t<Request> request, Repeat repeat) {
    const Gate::Hold hold = gate_.enter();
    if (!hold) co_return cancelled();
    const Nanos deadline = home_.now() + options_.call_timeout;
    for (std::size_t attempt = 1;; ++attempt) {
      Member& member = pick();
      const rpc::CallOptions options = call_options(patience(repeat, deadline));
      rpc::Answer<Reply> answer =
          co_await rpc::call(home_, *(member.*stub)->async(), method, request, options);
      if (answer.status.ok()) co_return std::move(answer.reply);
      if (closing()) co_return cancelled();
      Error error = error_of(member, answer.status);
      const bool away = error.code() == Errc::not_connected || error.code() == Errc::timed_out;
      const bool again = away && (repeat == Repeat::always || never_sent(answer.status));
      const bool went = co_await pause(again, attempt, deadline);
      if (!went) co_return error;
    }
  }
  Nanos patience(Repeat repeat, Nanos deadline) const;
  // Before the next attempt, when there is to be one: false when there is not, or no time for it.
  Task<bool> pause(bool again, std::size_t attempt, Nanos deadline);

 private:
  static constexpr Nanos left_out = 1s;

  Reactor& home_;
  EtcdOptions options_;
  std::vector<Member> members_;
  std::size_t turn_ = 0;
  Gate gate_;
  StopSource stop_;
};

}  // namespace holdfast::store

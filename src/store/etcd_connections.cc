#include "store/etcd_connections.h"

#include <fmt/format.h>

#include "rpc/status.h"

namespace holdfast::store {

EtcdClient::Connections::Connections(Reactor& home, EtcdOptions options,
                                     const std::vector<EtcdEndpoint>& endpoints)
    : home_(home), options_(std::move(options)), gate_(home) {
  rpc::ChannelOptions channel;
  channel.keep_alive =
      6s;  // etcd ends a connection that asks more often than every 5 s; timers are not exact
  channel.keep_alive_timeout = 3s;
  channel.keep_alive_when_silent = true;
  const rpc::Tls host_authorities;
  for (const EtcdEndpoint& endpoint : endpoints) {
    Member member;
    member.name = endpoint.target;
    member.tls = endpoint.tls;
    const rpc::Tls* tls = options_.tls.has_value() ? &*options_.tls : &host_authorities;
    member.channel = rpc::connect(endpoint.target, endpoint.tls ? tls : nullptr, channel);
    member.kv = etcdserverpb::KV::NewStub(member.channel);
    member.watch = etcdserverpb::Watch::NewStub(member.channel);
    member.lease = etcdserverpb::Lease::NewStub(member.channel);
    member.maintenance = etcdserverpb::Maintenance::NewStub(member.channel);
    members_.push_back(std::move(member));
  }
  turn_ = static_cast<std::size_t>(home.random().below(members_.size()));
}

EtcdClient::Connections::Member& EtcdClient::Connections::pick() {
  const std::size_t count = members_.size();
  const std::size_t first = ++turn_;
  for (std::size_t i = 0; i < count; ++i) {
    Member& member = members_[(first + i) % count];
    if (member.retry_at <= home_.now()) {
      turn_ = first + i;
      return member;
    }
  }
  return *std::min_element(members_.begin(), members_.end(),
                           [](const Member& a, const Member& b) { return a.retry_at < b.retry_at; });
}

rpc::CallOptions EtcdClient::Connections::call_options(Nanos timeout) {
  rpc::CallOptions made(timeout, stop_.token());
  made.metadata.emplace_back("hasleader", "true");
  return made;
}

Error EtcdClient::Connections::error_of(Member& member, const grpc::Status& status) {
  const Error plain = rpc::error_of(status);
  Errc code = plain.code();
  // We cancel at the end only, so this is the peer going away.
  if (code == Errc::cancelled) code = Errc::not_connected;
  if (code == Errc::failed_precondition &&
      plain.message().find("lease already exists") != std::string::npos) {
    code = Errc::already_exists;
  }
  if (code == Errc::not_connected || code == Errc::timed_out) failed(member);
  // With TLS 1.3 a server that misses our certificate ends the connection after the handshake, without a word.
  const bool may_miss_ours =
      code == Errc::not_connected && member.tls && (!options_.tls || options_.tls->certificate.empty());
  return Error(code,
               fmt::format("store {}: {}{}", member.name, plain.message(),
                           may_miss_ours ? " (no certificate of ours is given: it may ask for one)" : ""));
}

bool EtcdClient::Connections::never_sent(const grpc::Status& status) {
  // gRPC's own text. Were it another one, changes would be repeated less often than they could be.
  return status.error_code() == grpc::StatusCode::UNAVAILABLE &&
         status.error_message().rfind("failed to connect to all addresses", 0) == 0;
}

Nanos EtcdClient::Connections::patience(Repeat repeat, Nanos deadline) const {
  const Nanos left = std::max<Nanos>(deadline - home_.now(), 1ms);
  const bool goes_on = repeat == Repeat::always && members_.size() > 1;
  return goes_on ? std::min(left, options_.attempt_timeout) : left;
}

Task<bool> EtcdClient::Connections::pause(bool again, std::size_t attempt, Nanos deadline) {
  constexpr Nanos after_a_round = 100ms;
  if (!again || home_.now() >= deadline) co_return false;
  if (attempt % members_.size() != 0) co_return true;
  co_await home_.sleep(std::min<Nanos>(after_a_round, deadline - home_.now()), stop_.token());
  co_return !closing() && home_.now() < deadline;
}

Result<EtcdEndpoint> parse_etcd_endpoint(const std::string& text) {
  constexpr std::uint16_t default_port = 2379;
  EtcdEndpoint endpoint;
  std::string rest = text;
  const auto has_scheme = [&](std::string_view scheme) {
    if (rest.rfind(scheme, 0) != 0) return false;
    rest.erase(0, scheme.size());
    return true;
  };
  if (has_scheme("https://")) {
    endpoint.tls = true;
  } else {
    has_scheme("http://");
  }
  if (!rest.empty() && rest.back() == '/') rest.pop_back();
  const auto host = parse_host_port(rest, default_port);
  if (!host.ok() || rest.find('/') != std::string::npos || host.value().port == 0) {
    return Error(
        Errc::invalid_argument,
        fmt::format("'{}' is not an endpoint of a store: give one such as http://127.0.0.1:2379", text));
  }
  endpoint.target = host.value().to_string();
  return endpoint;
}

}  // namespace holdfast::store

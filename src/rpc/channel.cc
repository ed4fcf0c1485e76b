#include "rpc/channel.h"

#include <chrono>
#include <utility>

#include <grpc/grpc_security_constants.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

namespace holdfast::rpc {
namespace {

int milliseconds(Nanos d) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

Task<Status> read_into(Reactor& home, std::string path, std::string& into) {
  if (path.empty()) co_return Status();
  HF_CO_TRY(into, co_await home.read_file(std::move(path)));
  co_return Status();
}

}  // namespace

Task<Result<Tls>> load_tls(Reactor& home, TlsPaths paths) {
  if (paths.certificate.empty() != paths.key.empty()) {
    co_return Error(Errc::invalid_argument, "TLS: a certificate and its key are given together, or neither");
  }
  Tls tls;
  HF_CO_CHECK(co_await read_into(home, paths.authority, tls.authority));
  HF_CO_CHECK(co_await read_into(home, paths.certificate, tls.certificate));
  HF_CO_CHECK(co_await read_into(home, paths.key, tls.key));
  co_return tls;
}

std::shared_ptr<grpc::Channel> connect(const std::string& target, const Tls* tls,
                                       const ChannelOptions& options) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // the cluster is on this network, whatever http_proxy says
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds(options.keep_alive));
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, milliseconds(options.keep_alive_timeout));
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);  // also how long one attempt may take
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, milliseconds(options.reconnect_max));
  if (options.keep_alive_when_silent) args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  if (options.own_connection) args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetMaxReceiveMessageSize(options.receive_bytes_max);
  args.SetMaxSendMessageSize(-1);
  if (tls == nullptr) return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), args);
  grpc::SslCredentialsOptions keys;
  keys.pem_root_certs = tls->authority;
  keys.pem_cert_chain = tls->certificate;
  keys.pem_private_key = tls->key;
  if (!tls->peer_name.empty()) args.SetSslTargetNameOverride(tls->peer_name);
  return grpc::CreateCustomChannel(target, grpc::SslCredentials(keys), args);
}

std::shared_ptr<grpc::ServerCredentials> server_credentials(const Tls* tls) {
  if (tls == nullptr) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions keys(tls->authority.empty()
                                             ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                             : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  keys.pem_root_certs = tls->authority;
  keys.pem_key_cert_pairs.push_back({tls->key, tls->certificate});
  return grpc::SslServerCredentials(keys);
}

}  // namespace holdfast::rpc

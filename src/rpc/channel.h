// Connections: where to, and with which keys.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include "rpc/tls.h"
#include "rt/time.h"

namespace holdfast::rpc {

struct ChannelOptions {
  // A connection without an answer to a ping for that long is given up.
  Nanos keep_alive = 10s;
  Nanos keep_alive_timeout = 5s;
  Nanos reconnect_max = 2s;
  // Also on streams that have nothing to say. Only for peers that do not take it for an attack: servers of gRPC
  // end a connection with more than two pings in five minutes unless they were told otherwise (ours and etcd's were).
  bool keep_alive_when_silent = false;
  // Not shared with other channels to the same peer, nor is what those know of it.
  bool own_connection = false;
  int receive_bytes_max = -1;  // of one message; -1: any
};

// `target`: host:port, [v6]:port or unix:/path. `tls` null: plain text. Never fails: it connects when it is used.
std::shared_ptr<grpc::Channel> connect(const std::string& target, const Tls* tls,
                                       const ChannelOptions& options);

// With an authority the clients must show a certificate of it. `tls` null: plain text.
std::shared_ptr<grpc::ServerCredentials> server_credentials(const Tls* tls);

}  // namespace holdfast::rpc

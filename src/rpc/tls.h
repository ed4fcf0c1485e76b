// Keys of connections, without gRPC's headers.
#pragma once

#include <string>

#include "base/error.h"
#include "rt/reactor.h"
#include "rt/task.h"

namespace holdfast::rpc {

// PEM files; an empty path is not given.
struct TlsPaths {
  std::string authority;    // whose certificates the peer may show
  std::string certificate;  // our own, with the key: both or neither
  std::string key;
};

// PEM texts.
struct Tls {
  std::string authority;
  std::string certificate;
  std::string key;
  // Name that the peer's certificate must have, where it is not the one in the address.
  std::string peer_name;
};

// Errors: invalid_argument (a certificate without its key, or the other way), and those of Reactor::read_file.
Task<Result<Tls>> load_tls(Reactor& home, TlsPaths paths);

}  // namespace holdfast::rpc

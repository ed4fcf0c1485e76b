// EmbeddedServer: the etcd v3 API, as far as api/etcd has it, served from one file, for clusters without an etcd.
// Any etcd client can use it. Threads of its own and of gRPC: see docs/adr/0013-an-embedded-etcd.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "rpc/tls.h"
#include "store/mvcc.h"

namespace holdfast::store {

struct EmbeddedOptions {
  std::string path;                       // of the file; its folder exists
  std::string listen = "127.0.0.1:2379";  // host:port; port 0: any free one
  std::optional<rpc::Tls> tls;
  MvccLimits limits;
  // So many revisions can be read and watched again, at least; what is older is compacted. 0: all of them.
  Revision retain = 10'000;
  std::uint64_t seed = 0;  // of identifiers: random, never 0
};

class EmbeddedServer {
 public:
  // Blocks, for the disk: by Reactor::run_blocking. Errors: those of SqliteTable::open; busy (the port is in
  // use).
  static Result<std::unique_ptr<EmbeddedServer>> start(EmbeddedOptions options);
  // Ends the calls under way and closes the file. Blocks.
  ~EmbeddedServer();

  const std::string& address() const noexcept { return address_; }  // with the port that was given for 0

 private:
  struct Parts;
  EmbeddedServer(std::unique_ptr<Parts> parts, std::string address);

  std::unique_ptr<Parts> parts_;
  std::string address_;
};

}  // namespace holdfast::store

// What tests of this backend share: a runtime, and two ends of one connection over loopback.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "rt/stop.h"
#include "uring/runtime.h"

namespace holdfast::uring::test {

inline std::unique_ptr<Runtime> make_runtime(const Runtime::Options& options = Runtime::Options()) {
  auto made = Runtime::create(options);
  if (!made.ok()) panic(made.error().message().c_str());
  return std::move(made).value();
}

// To be closed by close_pair().
struct StreamPair {
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Stream> client, server;
};

inline Task<StreamPair> make_pair(Reactor& r, std::string address = "127.0.0.1") {
  StreamPair p;
  auto listening = r.listen(Endpoint{address, 0});
  if (!listening.ok()) panic(listening.error().message().c_str());
  p.listener = std::move(listening).value();
  auto connected = co_await r.connect(p.listener->local(), r.now() + 5s, StopToken());
  if (!connected.ok()) panic(connected.error().message().c_str());
  p.client = std::move(connected).value();
  auto accepted = co_await p.listener->accept();
  if (!accepted.ok()) panic(accepted.error().message().c_str());
  p.server = r.adopt(std::move(accepted).value());
  co_return p;
}

inline Task<void> close_pair(StreamPair& p) {
  p.client->shutdown();
  p.server->shutdown();
  p.listener->shutdown();
  co_await p.client->close();
  co_await p.server->close();
  co_await p.listener->close();
}

}  // namespace holdfast::uring::test

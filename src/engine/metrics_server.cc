#include "engine/metrics_server.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

namespace holdfast::engine {
namespace {

// Scrapers come one at a time; the second thread answers while a slow client holds the first.
constexpr std::size_t threads = 2;
constexpr std::size_t request_bytes_max = 4096;

// httplib would share the port with whoever has it.
void no_shared_port(socket_t socket) {
  const int yes = 1;
  static_cast<void>(::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
}

}  // namespace

struct MetricsServer::Parts {
  httplib::Server http;
  std::thread thread;
};

MetricsServer::MetricsServer(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(const Endpoint& at,
                                                            std::function<std::string()> render) {
  auto parts = std::make_unique<Parts>();
  httplib::Server& http = parts->http;
  http.new_task_queue = [] { return new httplib::ThreadPool(threads); };
  http.set_socket_options(no_shared_port);
  http.set_payload_max_length(request_bytes_max);
  http.set_read_timeout(5);
  http.set_write_timeout(5);
  http.set_keep_alive_max_count(1);
  http.Get("/metrics", [render = std::move(render)](const httplib::Request&, httplib::Response& response) {
    const std::string text = render();
    if (text.empty()) response.status = 503;
    response.set_content(text, "text/plain; version=0.0.4; charset=utf-8");
  });
  errno = 0;
  if (!http.bind_to_port(at.address, at.port)) {
    const int why = errno;
    return Error(Errc::busy,
                 fmt::format("metrics cannot listen on {}{}{}; choose another with --metrics-ip and "
                             "--metrics-port, or switch them off with --metrics-port 0",
                             at.to_string(), why == 0 ? "" : ": ", why == 0 ? "" : std::strerror(why)));
  }
  parts->thread = std::thread([&http] { http.listen_after_bind(); });
  // stop() is heard only by a server that runs.
  while (!http.is_running()) std::this_thread::sleep_for(std::chrono::microseconds(100));
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(parts)));
}

MetricsServer::~MetricsServer() {
  parts_->http.stop();
  parts_->thread.join();
}

}  // namespace holdfast::engine

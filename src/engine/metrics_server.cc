#include "engine/metrics_server.h"

#include <utility>

#include <fmt/format.h>

#include "http/server.h"

namespace holdfast::engine {
namespace {

// Scrapers come one at a time; the others answer while slow clients hold theirs.
constexpr unsigned threads = 4;
constexpr std::size_t request_bytes_max = 4096;

http::Reply text_reply(int status, std::string text) {
  http::Reply reply;
  reply.status = status;
  reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
  reply.body = std::move(text);
  return reply;
}

http::Reply refuse(int status, std::string why) { return text_reply(status, std::move(why) + "\n"); }

}  // namespace

MetricsServer::MetricsServer(std::unique_ptr<http::Server> server) noexcept : server_(std::move(server)) {}
MetricsServer::~MetricsServer() = default;

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(const Endpoint& at,
                                                            std::function<std::string()> render) {
  http::ServerOptions options;
  options.at = at;
  options.threads_max = threads;
  options.body_bytes_max = request_bytes_max;
  auto answer = [render = std::move(render)](const http::Request& request) {
    if (request.target.substr(0, request.target.find('?')) != "/metrics")
      return refuse(404, "there is /metrics alone");
    if (request.method != "GET") return refuse(405, "/metrics can be read only");
    std::string text = render();
    const int status = text.empty() ? 503 : 200;
    return text_reply(status, std::move(text));
  };
  auto started = http::Server::start(options, std::move(answer), refuse);
  if (!started.ok()) {
    return Error(
        Errc::busy,
        fmt::format("metrics {}; choose another with --metrics-ip and --metrics-port, or switch them "
                    "off with --metrics-port 0",
                    started.error().message()));
  }
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(started).value()));
}

}  // namespace holdfast::engine

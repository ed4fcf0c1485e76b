// Answers GET /metrics.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "rt/io.h"

namespace holdfast::http {
class Server;
}

namespace holdfast::engine {

class MetricsServer {
 public:
  // `render` gives the text of one scrape; it is called on threads of the server, may wait, and answers with
  // an empty text when there is nothing to say (the scraper gets 503). Errors: busy, naming the address.
  static Result<std::unique_ptr<MetricsServer>> start(const Endpoint& at,
                                                      std::function<std::string()> render);
  ~MetricsServer();  // ends the threads
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

 private:
  explicit MetricsServer(std::unique_ptr<http::Server> server) noexcept;
  std::unique_ptr<http::Server> server_;
};

}  // namespace holdfast::engine

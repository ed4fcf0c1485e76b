#include "http/server.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

#include "http/worker_pool.h"

namespace holdfast::http {
namespace {

constexpr int read_timeout_seconds = 10;
constexpr int write_timeout_seconds = 10;
constexpr int keep_alive_seconds = 2;
constexpr std::size_t requests_per_connection_max = 10'000;
constexpr int backlog = 1024;
// A stream with nothing to say says this, so that a client that is gone is noticed.
constexpr auto stream_sign_of_life = std::chrono::seconds(15);
constexpr const char* stream_nothing = ": still here\n\n";

class Workers final : public httplib::TaskQueue {
 public:
  explicit Workers(std::size_t threads_max) : pool_(threads_max) {}
  void enqueue(std::function<void()> job) override { pool_.enqueue(std::move(job)); }
  void shutdown() override { pool_.shutdown(); }

 private:
  WorkerPool pool_;
};

// The library has no other way to end a connection after an answer: a body whose last piece "fails" when it has been
// written. For requests whose body was not read to its end, because what is left of it would be taken for a request.
void answer_and_hang_up(httplib::Response& response, std::string body, const std::string& content_type) {
  const std::size_t size = body.size();
  response.set_header("Connection", "close");
  response.set_content_provider(size, content_type,
                                [body = std::move(body)](std::size_t, std::size_t, httplib::DataSink& sink) {
                                  sink.write(body.data(), body.size());
                                  return false;
                                });
}

bool brings_a_body(const httplib::Request& request) {
  return request.has_header("Transfer-Encoding") ||
         request.get_header_value("Content-Length", 0).find_first_not_of("0") != std::string::npos;
}

}  // namespace

struct Server::Parts {
  ServerOptions options;
  Handler handler;
  Refusal refusal;
  std::unique_ptr<httplib::Server> http;
  socket_t listener = INVALID_SOCKET;
  std::thread thread;
  std::atomic<bool> stopping{false};
  std::atomic<unsigned> streams{0};

  void configure();
  void answer(const httplib::Request& from, httplib::Response& to, std::string body);
  void answer_without_body(const httplib::Request& from, httplib::Response& to);
  void answer_with_body(const httplib::Request& from, httplib::Response& to,
                        const httplib::ContentReader& read);
  void refuse_and_hang_up(httplib::Response& to, int status, std::string why);
  void set(httplib::Response& to, Reply reply);
  void set_stream(httplib::Response& to, Reply reply);
};

void Server::Parts::set_stream(httplib::Response& to, Reply reply) {
  using Clock = std::chrono::steady_clock;
  auto provide = [this, next = std::move(reply.stream), said = Clock::now()](
                     std::size_t, httplib::DataSink& sink) mutable {
    std::string piece;
    const bool goes_on = !stopping && next(piece);
    if (piece.empty() && goes_on && Clock::now() - said > stream_sign_of_life) piece = stream_nothing;
    if (!piece.empty()) {
      said = Clock::now();
      if (!sink.write(piece.data(), piece.size())) return false;
    }
    if (!goes_on) sink.done();
    return true;
  };
  to.set_header("Cache-Control", "no-store");
  to.set_chunked_content_provider(reply.content_type, std::move(provide), [this](bool) { --streams; });
}

void Server::Parts::set(httplib::Response& to, Reply reply) {
  to.status = reply.status;
  for (const auto& [key, value] : reply.headers) to.set_header(key, value);
  if (reply.stream && ++streams > options.streams_max) {
    --streams;
    set(to, refusal(503, fmt::format("{} streams are open already; try again later", options.streams_max)));
  } else if (reply.stream) {
    set_stream(to, std::move(reply));
  } else if (!reply.body.empty()) {
    to.set_content(reply.body, reply.content_type);
  }
}

void Server::Parts::refuse_and_hang_up(httplib::Response& to, int status, std::string why) {
  Reply reply = refusal(status, std::move(why));
  to.status = reply.status;
  answer_and_hang_up(to, std::move(reply.body), reply.content_type);
}

void Server::Parts::answer(const httplib::Request& from, httplib::Response& to, std::string body) {
  Request request;
  request.method = from.method == "HEAD" ? "GET" : from.method;
  request.target = from.target;
  request.body = std::move(body);
  request.authorization = from.get_header_value("Authorization");
  request.accept = from.get_header_value("Accept");
  request.last_event_id = from.get_header_value("Last-Event-ID");
  request.content_type = from.get_header_value("Content-Type");
  request.forwarded_by = from.get_header_value("Holdfast-Forwarded-By");
  request.peer = from.remote_addr;
  set(to, handler(request));
}

void Server::Parts::answer_without_body(const httplib::Request& from, httplib::Response& to) {
  if (brings_a_body(from)) {
    refuse_and_hang_up(to, 400, fmt::format("a {} has no body", from.method));
  } else {
    answer(from, to, "");
  }
}

void Server::Parts::answer_with_body(const httplib::Request& from, httplib::Response& to,
                                     const httplib::ContentReader& read) {
  if (!brings_a_body(from)) return answer(from, to, "");
  if (from.has_header("Transfer-Encoding") && from.has_header("Content-Length")) {
    return refuse_and_hang_up(to, 400, "a request has Transfer-Encoding or Content-Length, not both");
  }
  if (from.is_multipart_form_data()) {
    return refuse_and_hang_up(to, 400, "the body is a form; send JSON");
  }
  std::string body;
  bool too_long = false;
  const bool whole = read([&](const char* data, std::size_t size) {
    too_long = body.size() + size > options.body_bytes_max;
    if (!too_long) body.append(data, size);
    return !too_long;
  });
  if (whole) return answer(from, to, std::move(body));
  if (too_long || to.status == 413) {
    return refuse_and_hang_up(to, 413,
                              fmt::format("the body is longer than {} bytes", options.body_bytes_max));
  }
  refuse_and_hang_up(to, 400, "the body did not arrive whole");
}

void Server::Parts::configure() {
  using httplib::Request;
  using httplib::Response;
  http->new_task_queue = [threads = options.threads_max] { return new Workers(threads); };
  http->set_tcp_nodelay(true);
  http->set_read_timeout(read_timeout_seconds);
  http->set_write_timeout(write_timeout_seconds);
  http->set_keep_alive_timeout(keep_alive_seconds);
  http->set_keep_alive_max_count(requests_per_connection_max);
  http->set_payload_max_length(options.body_bytes_max);
  // The library would share the port with whoever has it.
  http->set_socket_options([this](socket_t socket) {
    const int yes = 1;
    static_cast<void>(::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes));
    listener = socket;
  });
  http->set_pre_routing_handler([this](const Request& from, Response& to) {
    using Answer = httplib::Server::HandlerResponse;
    const bool may_bring_a_body =
        from.method == "PUT" || from.method == "POST" || from.method == "PATCH" || from.method == "DELETE";
    if (!may_bring_a_body) {
      answer_without_body(from, to);
      return Answer::Handled;
    }
    // Routing is ours; the library's goes by regular expressions, which hostile paths can make slow. It only has to
    // find the one handler of the method. The request is not const where it lives.
    const_cast<Request&>(from).path = "/";
    return Answer::Unhandled;
  });
  const auto with_body = [this](const Request& from, Response& to, const httplib::ContentReader& read) {
    answer_with_body(from, to, read);
  };
  http->Put("/", with_body);
  http->Post("/", with_body);
  http->Patch("/", with_body);
  http->Delete("/", with_body);
  http->set_error_handler([this](const Request&, Response& to) {
    if (to.body.empty() && !to.content_provider_)
      set(to, refusal(to.status, "the request is not understood"));
  });
}

Server::Server(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options, Handler handler,
                                              Refusal refusal) {
  auto parts = std::make_unique<Parts>();
  parts->options = options;
  parts->handler = std::move(handler);
  parts->refusal = std::move(refusal);
  if (options.tls != nullptr) {
    parts->http = std::make_unique<httplib::SSLServer>(
        [tls = options.tls](SSL_CTX& context) { return tls->apply(context); });
  } else {
    parts->http = std::make_unique<httplib::Server>();
  }
  if (!parts->http->is_valid())
    return Error(Errc::invalid_argument, "OpenSSL refuses the certificate or key");
  parts->configure();
  httplib::Server& http = *parts->http;
  errno = 0;
  int port = options.at.port;
  if (port == 0) {
    port = http.bind_to_any_port(options.at.address);
  } else if (!http.bind_to_port(options.at.address, port)) {
    port = -1;
  }
  if (port <= 0) {
    const int why = errno;
    return Error(Errc::busy, fmt::format("cannot listen on {}{}{}", options.at.to_string(),
                                         why == 0 ? "" : ": ", why == 0 ? "" : std::strerror(why)));
  }
  // The library asks for a backlog of 5.
  static_cast<void>(::listen(parts->listener, backlog));
  parts->thread = std::thread([&http] { http.listen_after_bind(); });
  // stop() is heard only by a server that runs.
  while (!http.is_running()) std::this_thread::sleep_for(std::chrono::microseconds(100));
  std::unique_ptr<Server> server(new Server(std::move(parts)));
  server->port_ = static_cast<std::uint16_t>(port);
  return server;
}

void Server::stop() {
  if (!parts_->thread.joinable()) return;
  parts_->stopping = true;
  parts_->http->stop();
  parts_->thread.join();
}

Server::~Server() { stop(); }

}  // namespace holdfast::http

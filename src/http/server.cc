#include "http/server.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include <fmt/format.h>
#include <httplib.h>
#include <openssl/ssl.h>
#include <strings.h>

#include "http/connections.h"
#include "http/listener.h"
#include "http/openssl_handle.h"
#include "http/socket_stream.h"
#include "http/worker_pool.h"

namespace holdfast::http {
namespace {

constexpr std::size_t requests_per_connection_max = 10'000;
constexpr auto last_readers_patience = std::chrono::seconds(2);
// Somebody may stop waiting in so long.
constexpr auto no_room_pause = std::chrono::milliseconds(10);
// A stream with nothing to say says this, so that a client that is gone is noticed.
constexpr auto stream_sign_of_life = std::chrono::seconds(15);
constexpr const char* stream_nothing = ": still here\n\n";

// Of the connection that this thread serves, while the library reads from it.
thread_local SocketStream* current_stream = nullptr;

// What it makes of one request after another; the connections are ours.
class Library final : public httplib::Server {
 public:
  // Until end(), answers go on. The library takes a server without a socket for one that stops.
  void begin() { svr_sock_ = 0; }
  void end() { svr_sock_ = INVALID_SOCKET; }
  // False: the connection is over.
  bool serve(httplib::Stream& stream, bool last) {
    bool closed = last;
    return process_request(stream, last, closed, [](httplib::Request&) {}) && !closed;
  }
};

using TlsContext = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;

// Null: OpenSSL refuses.
TlsContext make_context(const TlsIdentity& identity) {
  TlsContext context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr || !identity.apply(*context)) return nullptr;
  SSL_CTX_set_options(context.get(), SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  return context;
}

// The library takes the first of several lengths, and of one the digits that it begins with. Whoever sent the request
// on may have taken another, and then a part of the body is the next request.
bool has_a_clear_length(const httplib::Request& request) {
  const std::size_t lengths = request.get_header_value_count("Content-Length");
  const std::string length = request.get_header_value("Content-Length", 0);
  if (lengths == 1 && (length.empty() || length.find_first_not_of("0123456789") != std::string::npos))
    return false;
  const std::size_t encodings = request.get_header_value_count("Transfer-Encoding");
  // With another encoding the library takes the connection's end, however it comes, for the body's.
  if (encodings == 1 &&
      ::strcasecmp(request.get_header_value("Transfer-Encoding", 0).c_str(), "chunked") != 0)
    return false;
  return lengths + encodings <= 1;
}

// For requests whose body was not read to its end: what is left of it would be taken for a request.
void hang_up_after(httplib::Response& response) {
  current_stream->end_after_this();
  if (!response.has_header("Connection")) response.set_header("Connection", "close");
}

bool brings_a_body(const httplib::Request& request) {
  return request.has_header("Transfer-Encoding") ||
         request.get_header_value("Content-Length", 0).find_first_not_of("0") != std::string::npos;
}

}  // namespace

struct Server::Parts {
  Parts(const ServerOptions& given, Handler handles, Refusal refuses)
      : options(given),
        handler(std::move(handles)),
        refusal(std::move(refuses)),
        connections(given.threads_max),
        workers(given.threads_max) {
    options.streams_max = std::min(given.streams_max, std::max(given.threads_max / 2, 1U));
  }

  ServerOptions options;
  Handler handler;
  Refusal refusal;
  TlsContext tls;
  Library library;
  std::atomic<bool> stopping{false};
  std::atomic<unsigned> streams{0};
  Connections connections;
  WorkerPool workers;
  std::unique_ptr<Listener> listener;
  std::thread thread;

  void configure();
  void accept_all();
  void serve(Connections::Place& place);
  void refuse_head(SocketStream& stream, SocketStream::Head why);
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
    to.body = std::move(reply.body);
    to.set_header("Content-Type", reply.content_type);
  }
}

void Server::Parts::refuse_and_hang_up(httplib::Response& to, int status, std::string why) {
  hang_up_after(to);
  set(to, refusal(status, std::move(why)));
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
  // The library takes chunks that are framed wrongly for a whole body, and leaves those of a DELETE unread.
  if (from.has_header("Transfer-Encoding")) hang_up_after(to);
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
  if (current_stream->body_was_late()) {
    return refuse_and_hang_up(
        to, 408, fmt::format("the body did not arrive within {} ms", options.body_time_max.count()));
  }
  refuse_and_hang_up(to, 400, "the body did not arrive whole");
}

void Server::Parts::configure() {
  using httplib::Request;
  using httplib::Response;
  library.set_keep_alive_timeout(std::chrono::ceil<std::chrono::seconds>(options.idle_time_max).count());
  library.set_keep_alive_max_count(requests_per_connection_max);
  library.set_payload_max_length(options.body_bytes_max);
  library.set_pre_routing_handler([this](const Request& from, Response& to) {
    using Answer = httplib::Server::HandlerResponse;
    if (!has_a_clear_length(from)) {
      refuse_and_hang_up(to, 400,
                         "a request has one Transfer-Encoding, or one Content-Length in digits, not both");
      return Answer::Handled;
    }
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
  library.Put("/", with_body);
  library.Post("/", with_body);
  library.Patch("/", with_body);
  library.Delete("/", with_body);
  library.set_error_handler([this](const Request&, Response& to) {
    if (to.body.empty())
      // Whatever follows may be the body of what was not understood.
      refuse_and_hang_up(to, to.status, "the request is not understood");
  });
}

// ---- connections

void Server::Parts::refuse_head(SocketStream& stream, SocketStream::Head why) {
  int status = 400;
  std::string text = "lines end in CR LF and have no NUL, and a field is NAME: VALUE in one line";
  if (why == SocketStream::Head::late) {
    status = 408;
    text = fmt::format("the header did not arrive within {} ms", options.head_time_max.count());
  } else if (why == SocketStream::Head::too_long) {
    status = 431;
    text = fmt::format("the header is longer than {} bytes", options.head_bytes_max);
  }
  const Reply reply = refusal(status, std::move(text));
  stream.write_all(fmt::format(
      "HTTP/1.1 {} Refused\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
      reply.status, reply.content_type, reply.body.size(), reply.body));
}

void Server::Parts::serve(Connections::Place& place) {
  SocketStream stream(place, options, tls.get());
  if (!place.work() || !stream.open()) return;
  for (std::size_t i = 1; i <= requests_per_connection_max; ++i) {
    const auto head = stream.read_head(i == 1);
    if (head == SocketStream::Head::none) return;
    if (head != SocketStream::Head::whole) {
      refuse_head(stream, head);
      break;
    }
    current_stream = &stream;
    const bool goes_on =
        library.serve(stream, stopping || i == requests_per_connection_max) && !stream.ends_after_this();
    current_stream = nullptr;
    if (!goes_on) break;
  }
  stream.hang_up();
}

// While there is no place, connections queue in the kernel.
void Server::Parts::accept_all() {
  while (!stopping) {
    if (!listener->wait()) continue;
    const bool room =
        connections.has_room() || (connections.take_one(), connections.wait_for_room(no_room_pause));
    if (!room || stopping) continue;
    const int socket = listener->accept();
    if (socket < 0) {
      // Without descriptors or memory: those of a connection that only waits.
      if (socket == Listener::exhausted && !connections.take_one())
        std::this_thread::sleep_for(no_room_pause);
      continue;
    }
    // The pool copies its jobs, and does each.
    Connections::Place* place = std::make_unique<Connections::Place>(connections, socket).release();
    workers.enqueue([this, place] {
      const std::unique_ptr<Connections::Place> owned(place);
      serve(*owned);
    });
  }
}

Server::Server(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options, Handler handler,
                                              Refusal refusal) {
  auto parts = std::make_unique<Parts>(options, std::move(handler), std::move(refusal));
  if (options.tls != nullptr) {
    parts->tls = make_context(*options.tls);
    if (parts->tls == nullptr) return Error(Errc::invalid_argument, "OpenSSL refuses the certificate or key");
  }
  parts->configure();
  HF_TRY(parts->listener, Listener::open(options.at));
  parts->library.begin();
  parts->thread = std::thread([p = parts.get()] { p->accept_all(); });
  std::unique_ptr<Server> server(new Server(std::move(parts)));
  server->port_ = server->parts_->listener->port();
  return server;
}

void Server::stop() {
  if (!parts_->thread.joinable()) return;
  parts_->stopping = true;
  parts_->library.end();
  parts_->listener->wake();
  // Before the accepting thread has ended: it may serve a connection itself. One that it still accepts ends at once.
  parts_->connections.take_all(Connections::Wanted::request);
  if (!parts_->connections.wait_for_end(last_readers_patience))
    parts_->connections.take_all(Connections::Wanted::reading);
  parts_->thread.join();
  parts_->workers.shutdown();
  parts_->listener.reset();
}

Server::~Server() { stop(); }

}  // namespace holdfast::http

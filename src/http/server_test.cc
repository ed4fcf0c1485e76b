#include "http/server.h"

#include <atomic>
#include <chrono>
#include <thread>

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/testing/plain_refusal.h"

namespace holdfast::http {
namespace {

using namespace std::chrono_literals;

// Answers with what it was asked.
Reply echo(const Request& request) {
  Reply reply;
  reply.content_type = "text/plain";
  reply.body = request.method + " " + request.target + " " + request.body;
  reply.headers.emplace_back("X-Token", request.authorization);
  if (request.target == "/none") {
    reply.status = 204;
    reply.body.clear();
  }
  if (request.target == "/teapot") reply.status = 418;
  return reply;
}

std::unique_ptr<Server> start(Server::Handler handler, ServerOptions options = {}) {
  options.at = {"127.0.0.1", 0};
  auto server = Server::start(options, std::move(handler), test::plain_refusal);
  EXPECT_TRUE(server.ok()) << server.error().message();
  return std::move(server).value();
}

// Sends bytes as they are and reads until the server hangs up or says nothing for a while.
std::string talk(const Server& server, const std::string& bytes) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(server.port());
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  const timeval patience{0, 500'000};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  EXPECT_EQ(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) {
    answer.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return answer;
}

TEST(HttpServer, PassesRequestsAndRepliesOn) {
  const auto server = start(echo);
  httplib::Client client("127.0.0.1", server->port());
  client.set_keep_alive(true);
  EXPECT_EQ(client.Get("/a%2Fb?c=d%20e")->body, "GET /a%2Fb?c=d%20e ");
  EXPECT_EQ(client.Put("/a", "{}", "application/json")->body, "PUT /a {}");
  EXPECT_EQ(client.Put("/a")->body, "PUT /a ");
  EXPECT_EQ(client.Delete("/a")->body, "DELETE /a ");
  EXPECT_EQ(client.Post("/a", "x", "text/plain")->body, "POST /a x");
  EXPECT_EQ(client.Get("/a", {{"Authorization", "Bearer x"}})->get_header_value("X-Token"), "Bearer x");
  EXPECT_EQ(client.Get("/none")->status, 204);
  EXPECT_EQ(client.Get("/teapot")->status, 418);
  EXPECT_EQ(client.Get("/teapot")->body, "GET /teapot ");
  EXPECT_EQ(client.Head("/a")->body, "");
}

TEST(HttpServer, ARequestWithoutLengthHasNoBody) {
  const auto server = start(echo);
  const auto before = std::chrono::steady_clock::now();
  const std::string answer = talk(*server, "DELETE /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_NE(answer.find("DELETE /a "), std::string::npos) << answer;
  EXPECT_LT(std::chrono::steady_clock::now() - before, 3s);
}

TEST(HttpServer, ABodyThatIsTooLongIsRefused) {
  ServerOptions limited;
  limited.body_bytes_max = 1000;
  const auto server = start(echo, limited);
  httplib::Client client("127.0.0.1", server->port());
  EXPECT_EQ(client.Put("/a", std::string(1000, 'x'), "text/plain")->status, 200);
  const auto result = client.Put("/a", std::string(1001, 'x'), "text/plain");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->status, 413);
  EXPECT_EQ(result->body, "refused: the body is longer than 1000 bytes");
  std::string chunked = "PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 100; ++i) chunked += "14\r\n01234567890123456789\r\n";
  const std::string answer = talk(*server, chunked + "0\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 413")) << answer;
}

// A request that hides behind another one's body must not be served.
TEST(HttpServer, WhatIsLeftOfABodyIsNoRequest) {
  std::atomic<int> served{0};
  const auto server = start([&](const Request& request) {
    if (request.target == "/hidden") ++served;
    return echo(request);
  });
  const std::string hidden = "PUT /hidden HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
  const std::string length = "Content-Length: " + std::to_string(hidden.size()) + "\r\n";
  const std::string cases[] = {
      "GET /a HTTP/1.1\r\nHost: x\r\n" + length + "\r\n" + hidden,
      "GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
      "PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + length + "\r\n0\r\n\r\n" + hidden,
      "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + length + "\r\n" + hidden,
      "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0x1000\r\n\r\n" + hidden,
      "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n" + hidden,
      "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + length + "\r\n" + hidden,
      "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n" + length + "\r\n" +
          hidden,
  };
  for (const auto& request : cases) {
    const std::string answer = talk(*server, request);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400")) << request << answer;
    EXPECT_NE(answer.find("refused: "), std::string::npos) << answer;
    EXPECT_EQ(served, 0) << request;
  }
}

TEST(HttpServer, WhatFollowsAHeadOrBrokenChunksIsNoRequest) {
  std::atomic<int> served{0};
  const auto server = start([&](const Request& request) {
    if (request.target == "/hidden") ++served;
    return echo(request);
  });
  const std::string hidden = "PUT /hidden HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
  const std::string cases[] = {
      "HEAD /a HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(hidden.size()) + "\r\n\r\n" + hidden,
      "PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n" + hidden,
  };
  for (const auto& request : cases) {
    const std::string answer = talk(*server, request);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 ")) << request << answer;
    EXPECT_EQ(served, 0) << request;
  }
}

TEST(HttpServer, RubbishIsRefusedInOurWords) {
  const auto server = start(echo);
  const std::string cases[] = {
      "rubbish\r\n\r\n",
      "FETCH /a HTTP/1.1\r\nHost: x\r\n\r\n",
      "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n",
  };
  for (const auto& request : cases) {
    const std::string answer = talk(*server, request);
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 4")) << request.substr(0, 30) << answer;
    EXPECT_NE(answer.find("refused: "), std::string::npos) << answer;
  }
}

TEST(HttpServer, AStreamGoesOnUntilItsEnd) {
  std::atomic<int> said{0};
  const auto server = start([&](const Request&) {
    Reply reply;
    reply.content_type = "text/event-stream";
    reply.stream = [&](std::string& piece) {
      std::this_thread::sleep_for(5ms);
      if (said % 2 == 0) piece = "data: " + std::to_string(said) + "\n\n";
      return ++said < 5;
    };
    return reply;
  });
  httplib::Client client("127.0.0.1", server->port());
  const auto result = client.Get("/events");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->body, "data: 0\n\ndata: 2\n\ndata: 4\n\n");
}

TEST(HttpServer, StoppingEndsStreamsAndAnswersWhatIsUnderWay) {
  std::atomic<bool> inside{false};
  auto server = start([&](const Request& request) {
    Reply reply = echo(request);
    if (request.target == "/slow") {
      inside = true;
      std::this_thread::sleep_for(300ms);
    } else {
      reply.stream = [](std::string& piece) {
        std::this_thread::sleep_for(10ms);
        piece = "x";
        return true;
      };
    }
    return reply;
  });
  httplib::Client slow_client("127.0.0.1", server->port());
  httplib::Client stream_client("127.0.0.1", server->port());
  std::string slow;
  bool stream_ended = false;
  std::thread one([&] { slow = slow_client.Get("/slow")->body; });
  std::thread two([&] { stream_ended = static_cast<bool>(stream_client.Get("/stream")); });
  while (!inside) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(50ms);
  const auto before = std::chrono::steady_clock::now();
  server->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s);
  one.join();
  two.join();
  EXPECT_EQ(slow, "GET /slow ");
}

TEST(HttpServer, ManyConnectionsShareFewThreads) {
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  ServerOptions few;
  few.threads_max = 3;
  const auto server = start(
      [&](const Request& request) {
        const int now_inside = ++inside;
        if (now_inside > most) most = now_inside;
        std::this_thread::sleep_for(5ms);
        --inside;
        return echo(request);
      },
      few);
  std::atomic<int> good{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back([&] {
      httplib::Client client("127.0.0.1", server->port());
      const auto result = client.Get("/a");
      if (result && result->status == 200) ++good;
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_EQ(good, 20);
  EXPECT_LE(most, 3);
}

TEST(HttpServer, SpeaksTls) {
  auto identity = TlsIdentity::self_signed();
  ASSERT_TRUE(identity.ok());
  ServerOptions with_tls;
  with_tls.tls = &identity.value();
  const auto server = start(echo, with_tls);
  httplib::SSLClient client("127.0.0.1", server->port());
  client.enable_server_certificate_verification(false);
  const auto result = client.Get("/a");
  ASSERT_TRUE(result) << httplib::to_string(result.error());
  EXPECT_EQ(result->body, "GET /a ");
  httplib::Client plain("127.0.0.1", server->port());
  EXPECT_FALSE(plain.Get("/a"));
}

TEST(HttpServer, APortInUseIsNamed) {
  const auto server = start(echo);
  ServerOptions same;
  same.at = {"127.0.0.1", server->port()};
  const auto second = Server::start(same, echo, test::plain_refusal);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Errc::busy);
  EXPECT_NE(second.error().message().find("127.0.0.1:" + std::to_string(server->port())), std::string::npos);
}

TEST(HttpServer, ABodyThatOnlyTheConnectionEndsIsRefused) {
  std::atomic<int> served{0};
  const auto server = start([&](const Request& request) {
    ++served;
    return echo(request);
  });
  for (const char* encoding : {"identity", "gzip, chunked", "chunked, gzip", "xchunked"}) {
    const std::string answer =
        talk(*server, std::string("PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: ") + encoding +
                          "\r\n\r\n{\"pool\":");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400")) << encoding << answer;
  }
  server->stop();
  EXPECT_EQ(served, 0);
}

}  // namespace
}  // namespace holdfast::http

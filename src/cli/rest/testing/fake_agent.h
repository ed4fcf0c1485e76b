// An agent that answers what a test tells it to, on a real socket, and keeps what it was asked.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <httplib.h>

namespace holdfast::cli {

class FakeAgent {
 public:
  struct Canned {
    int status = 200;
    std::string body;
  };

  FakeAgent() {
    auto answer = [this](const httplib::Request& request, httplib::Response& response) {
      const std::lock_guard lock(mutex_);
      std::string line = request.method + " " + request.target;
      if (!request.body.empty()) line += " " + request.body;
      asked_.push_back(line);
      token_ = request.get_header_value("Authorization");
      const auto canned = answers_.find(request.method + " " + request.target);
      if (canned == answers_.end()) {
        response.status = 404;
        response.set_content(R"({"kind":"NotFound","message":"nothing here","details":""})",
                             "application/json");
        return;
      }
      // The last of several answers stays.
      const Canned now = canned->second.front();
      if (canned->second.size() > 1) canned->second.erase(canned->second.begin());
      response.status = now.status;
      response.set_content(now.body, "application/json");
    };
    server_.Get(".*", answer);
    server_.Put(".*", answer);
    server_.Post(".*", answer);
    server_.Delete(".*", answer);
    server_.set_keep_alive_max_count(1);
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
  }
  ~FakeAgent() {
    while (!server_.is_running()) std::this_thread::yield();
    server_.stop();
    thread_.join();
  }
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  // What `request` ("GET /v0/nodes") is answered from now on; called again: after that.
  void on(const std::string& request, std::string body, int status = 200) {
    const std::lock_guard lock(mutex_);
    answers_[request].push_back({status, std::move(body)});
  }
  std::vector<std::string> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  std::string authorization() {
    const std::lock_guard lock(mutex_);
    return token_;
  }

 private:
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
  std::mutex mutex_;
  std::map<std::string, std::vector<Canned>> answers_;
  std::vector<std::string> asked_;
  std::string token_;
};

}  // namespace holdfast::cli

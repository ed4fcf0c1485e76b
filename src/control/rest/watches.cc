#include "control/rest/watches.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <mutex>

#include <fcntl.h>
#include <httplib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "control/rest/json_views.h"
#include "http/client.h"

namespace holdfast::control::rest {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t callback_bytes_max = 2048;
constexpr int attempts_max = 5;
constexpr milliseconds first_pause{200};
constexpr milliseconds longest_pause{5000};
constexpr milliseconds call_time_max{5000};  // whatever it is that still comes

struct Callback {
  std::string server;  // "http://host:port"
  std::string path;
};

Result<Callback> parse_callback(const std::string& text) {
  const auto printable = [](char c) { return c > 0x20 && c < 0x7f; };
  const bool known = text.starts_with("http://") || text.starts_with("https://");
  const auto host = text.find("://") + 3;
  const auto slash = known ? text.find_first_of("/?#", host) : std::string::npos;
  const auto server = text.substr(0, slash);
  const std::string_view authority = known ? std::string_view(server).substr(host) : std::string_view();
  const bool plain = std::all_of(authority.begin(), authority.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == ':' || c == '[' ||
           c == ']';
  });
  const auto colon = authority.rfind(':');
  const bool port_follows = colon != std::string_view::npos && authority.back() != ']';
  const auto port = port_follows ? authority.substr(colon + 1) : std::string_view("80");
  const bool good_port = !port.empty() && port.size() <= 5 &&
                         std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  const bool fits = known && !authority.empty() && plain && good_port && text.size() <= callback_bytes_max &&
                    std::all_of(text.begin(), text.end(), printable);
  if (!fits) {
    return refusal(Kind::invalid_argument,
                   fmt::format("callback '{:.100}': give http://host[:port]/path or https://...", text));
  }
  const std::string path = slash == std::string::npos ? "/" : text.substr(slash);
  return Callback{server, path.front() == '/' ? path : "/" + path};
}

}  // namespace

// A call under way. Its answer may never come to an end: then another thread ends it. Not by the client's stop(), which
// waits while the client is being connected: a handshake of TLS may never come to an end either.
struct Watches::Calling {
  explicit Calling(const std::string& server) : client(http::client_of(server)) {
    if (client == nullptr) return;
    client->set_socket_options([this](socket_t made) {
      const std::scoped_lock lock(mutex);
      if (copy >= 0) ::close(copy);
      copy = ::fcntl(made, F_DUPFD_CLOEXEC, 0);
    });
  }
  ~Calling() {
    if (copy >= 0) ::close(copy);
  }
  Calling(const Calling&) = delete;
  Calling& operator=(const Calling&) = delete;
  void end() {
    const std::scoped_lock lock(mutex);
    if (copy >= 0) ::shutdown(copy, SHUT_RDWR);
  }

  std::mutex mutex;
  int copy = -1;  // of the descriptor of its socket, which the client closes when it likes
  const std::unique_ptr<httplib::ClientImpl> client;  // nullptr: there is no such address
  const Clock::time_point due = Clock::now() + call_time_max;
  unsigned enders = 0;  // it stays until they are done
};

std::vector<std::string> Watches::of(const Uuid& volume) const {
  const std::scoped_lock lock(mutex_);
  std::vector<std::string> callbacks;
  const auto found = watches_.find(volume);
  if (found == watches_.end()) return callbacks;
  for (const Watch& w : found->second) callbacks.push_back(w.callback);
  return callbacks;
}

Status Watches::add(const Uuid& volume, std::string callback, std::uint64_t last) {
  HF_CHECK(parse_callback(callback));
  const std::scoped_lock lock(mutex_);
  const auto known = watches_.find(volume);
  if (known != watches_.end() && std::any_of(known->second.begin(), known->second.end(),
                                             [&](const Watch& w) { return w.callback == callback; })) {
    return refusal(Kind::already_exists,
                   fmt::format("volume {} is watched by {} already", volume.to_string(), callback));
  }
  if (count_ == watches_max) {
    return refusal(Kind::resource_exhausted, fmt::format("there are {} watches; remove some", watches_max));
  }
  Watch watch;
  watch.number = ++last_number_;
  watch.callback = std::move(callback);
  watches_[volume].push_back(std::move(watch));
  ++count_;
  if (!threads_.empty() || stopping_) return Status();
  threads_.emplace_back([this, last] { listen(last); });
  for (unsigned i = 0; i < callers; ++i) threads_.emplace_back([this] { work(); });
  threads_.emplace_back([this] {
    while (pause(milliseconds(1000))) end_calls(Clock::now());
  });
  return Status();
}

Status Watches::remove(const Uuid& volume, const std::string& callback) {
  const std::scoped_lock lock(mutex_);
  const auto list = watches_.find(volume);
  if (list == watches_.end() ||
      std::erase_if(list->second, [&](const Watch& w) { return w.callback == callback; }) == 0) {
    return refusal(Kind::not_found,
                   fmt::format("volume {} is not watched by {:.100}", volume.to_string(), callback));
  }
  --count_;
  if (list->second.empty()) watches_.erase(list);
  return Status();
}

void Watches::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  // One that is only being connected is to be told again.
  for (bool over = false; !over;) {
    end_calls(Clock::time_point::max());
    std::unique_lock lock(mutex_);
    over = changed_.wait_for(lock, milliseconds(50), [this] { return calling_.empty(); });
  }
  for (auto& thread : threads_) thread.join();
  threads_.clear();
}

bool Watches::pause(milliseconds time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [this] { return stopping_; });
}

// ---- what happens

void Watches::listen(std::uint64_t after) {
  while (pause(milliseconds(0))) {
    const auto events = home_.next_events(after);
    if (!events.ok()) {
      pause(first_pause);
      continue;
    }
    for (const Event& event : events.value()) {
      after = event.number;
      if (event.category == "Volume") note(event);
    }
  }
}

void Watches::note(const Event& event) {
  const auto volume = Uuid::parse(event.resource);
  if (!volume.ok()) return;
  const std::scoped_lock lock(mutex_);
  const auto found = watches_.find(volume.value());
  if (found == watches_.end()) return;
  const std::string body = to_text(event_json(event));
  for (Watch& w : found->second) {
    if (w.untold.size() < untold_max) {
      w.untold.push_back(body);
    } else {
      HF_LOG(warn, "rest", "a watch is not told: it is too far behind", {"callback", w.callback},
             {"volume", event.resource});
    }
  }
  changed_.notify_all();
}

// ---- calls

Watches::Watch* Watches::find(const Uuid& volume, std::uint64_t watch) {
  const auto list = watches_.find(volume);
  if (list == watches_.end()) return nullptr;
  for (Watch& w : list->second) {
    if (w.number == watch) return &w;
  }
  return nullptr;
}

std::optional<Watches::Call> Watches::take_call(Clock::time_point& wake) {
  const auto now = Clock::now();
  Watch* next = nullptr;
  Uuid of;
  for (auto& [volume, list] : watches_) {
    for (Watch& w : list) {
      if (w.untold.empty() || w.being_called) continue;
      if (w.dead && calls_to_dead_ == callers_of_the_dead_max) continue;
      if (w.not_before > now) {
        wake = std::min(wake, w.not_before);
      } else if (next == nullptr || w.not_before < next->not_before) {
        next = &w;
        of = volume;
      }
    }
  }
  if (next == nullptr) return std::nullopt;
  next->being_called = true;
  if (next->dead) ++calls_to_dead_;
  return Call{of, next->number, next->callback, next->untold.front(), next->dead};
}

void Watches::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    auto wake = Clock::now() + longest_pause;
    const auto call = take_call(wake);
    if (!call) {
      changed_.wait_until(lock, wake);
      continue;
    }
    const auto to = parse_callback(call->callback);
    HF_ASSERT(to.ok());  // add() looked
    Calling calling(to.value().server);
    calling_.insert(&calling);
    lock.unlock();
    const bool told = tell(calling, to.value().path, call->body);
    lock.lock();
    calling_.erase(&calling);
    changed_.wait(lock, [&calling] { return calling.enders == 0; });
    note_called(*call, told);
    changed_.notify_all();
  }
}

void Watches::note_called(const Call& call, bool told) {
  if (call.to_dead) --calls_to_dead_;
  Watch* watch = find(call.volume, call.watch);
  if (watch == nullptr) return;
  watch->being_called = false;
  watch->dead = !told;
  watch->failures = told ? 0 : watch->failures + 1;
  watch->not_before = Clock::now();
  const bool given_up = watch->failures == attempts_max;
  if (!told) watch->not_before += std::min(first_pause * (1 << (watch->failures - 1)), longest_pause);
  if (!told && !given_up) return;
  watch->untold.pop_front();
  watch->failures = 0;
  if (!given_up) return;
  HF_LOG(warn, "rest", "a watch was not told", {"callback", call.callback},
         {"volume", call.volume.to_string()});
}

void Watches::end_calls(Clock::time_point due) {
  std::unique_lock lock(mutex_);
  std::vector<Calling*> late;
  std::copy_if(calling_.begin(), calling_.end(), std::back_inserter(late),
               [due](const Calling* one) { return one->due <= due; });
  for (Calling* one : late) ++one->enders;
  lock.unlock();
  for (Calling* one : late) one->end();
  lock.lock();
  for (Calling* one : late) --one->enders;
  changed_.notify_all();
}

bool Watches::tell(Calling& calling, const std::string& path, const std::string& body) {
  if (calling.client == nullptr) return true;
  httplib::ClientImpl& client = *calling.client;
  client.set_connection_timeout(1);
  client.set_read_timeout(1);
  client.set_write_timeout(1);
  httplib::Request request;
  request.method = "PUT";
  request.path = path;
  request.body = body;
  request.set_header("Content-Type", "application/json");
  int status = 0;
  // Nobody reads what it says besides.
  request.response_handler = [&status](const httplib::Response& response) {
    status = response.status;
    return false;
  };
  const auto result = client.send(request);
  if (result) status = result->status;
  return status != 0 && status < 500;
}

}  // namespace holdfast::control::rest

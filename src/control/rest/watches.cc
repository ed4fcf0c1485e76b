#include "control/rest/watches.h"

#include <algorithm>

#include <httplib.h>

#include "base/log.h"
#include "control/rest/json_views.h"

namespace holdfast::control::rest {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t callback_bytes_max = 2048;
constexpr int attempts_max = 5;
constexpr milliseconds first_pause{200};
constexpr milliseconds longest_pause{5000};

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

std::vector<std::string> Watches::of(const Uuid& volume) const {
  const std::scoped_lock lock(mutex_);
  const auto found = callbacks_.find(volume);
  return found == callbacks_.end() ? std::vector<std::string>() : found->second;
}

Status Watches::add(const Uuid& volume, std::string callback) {
  HF_CHECK(parse_callback(callback));
  const std::scoped_lock lock(mutex_);
  auto& list = callbacks_[volume];
  if (std::find(list.begin(), list.end(), callback) != list.end()) {
    return refusal(Kind::already_exists,
                   fmt::format("volume {} is watched by {} already", volume.to_string(), callback));
  }
  if (count_ == watches_max) {
    return refusal(Kind::resource_exhausted, fmt::format("there are {} watches; remove some", watches_max));
  }
  list.push_back(std::move(callback));
  ++count_;
  if (!thread_.joinable() && !stopping_) thread_ = std::thread([this] { run(); });
  return Status();
}

Status Watches::remove(const Uuid& volume, const std::string& callback) {
  const std::scoped_lock lock(mutex_);
  const auto list = callbacks_.find(volume);
  if (list == callbacks_.end() || std::erase(list->second, callback) == 0) {
    return refusal(Kind::not_found,
                   fmt::format("volume {} is not watched by {:.100}", volume.to_string(), callback));
  }
  --count_;
  if (list->second.empty()) callbacks_.erase(list);
  return Status();
}

void Watches::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Watches::pause(milliseconds time) {
  std::unique_lock lock(mutex_);
  return !stopped_.wait_for(lock, time, [this] { return stopping_; });
}

void Watches::run() {
  const auto last = home_.read([](Service& service) { return service.events().last_number(); });
  std::uint64_t after = last.ok() ? last.value() : 0;
  while (pause(milliseconds(0))) {
    const auto events = home_.next_events(after);
    if (!events.ok()) {
      pause(first_pause);
      continue;
    }
    for (const Event& event : events.value()) {
      after = event.number;
      if (event.category == "Volume") call_all(event);
    }
  }
}

void Watches::call_all(const Event& event) {
  const auto volume = Uuid::parse(event.resource);
  if (!volume.ok()) return;
  for (const std::string& callback : of(volume.value())) {
    if (call(callback, to_text(event_json(event)))) continue;
    HF_LOG(warn, "rest", "a watch was not told", {"callback", callback}, {"volume", event.resource});
  }
}

bool Watches::call(const std::string& callback, const std::string& body) {
  const auto to = parse_callback(callback);
  if (!to.ok()) return false;
  httplib::Client client(to.value().server);
  client.set_connection_timeout(1);
  client.set_read_timeout(1);
  client.set_write_timeout(1);
  milliseconds wait = first_pause;
  for (int attempt = 0; attempt < attempts_max; ++attempt) {
    if (attempt > 0 && !pause(wait)) return false;
    if (attempt > 0) wait = std::min(wait * 2, longest_pause);
    const auto result = client.Put(to.value().path, body, "application/json");
    if (result && result->status < 500) return true;
  }
  return false;
}

}  // namespace holdfast::control::rest

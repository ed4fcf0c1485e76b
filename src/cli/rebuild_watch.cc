// holdfast engine rebuild watch
#include <algorithm>
#include <cctype>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.h"
#include "cli/commands.h"
#include "cli/engine_client.h"
#include "cli/messages.h"
#include "cli/tool/progress.h"
#include "mayastor/v1/nexus.grpc.pb.h"

namespace holdfast::cli {
namespace {

namespace api = mayastor::v1;
using Nexuses = api::NexusRpc;

// How long a child may be out of sync without its rebuild going on before we say that it will not get there:
// a rebuild that was asked for just now, or that changes its source, is not there at every look.
constexpr double idle_seconds_max = 5.0;

struct Followed {
  enum class State { waiting, in_sync, lost };
  State state = State::waiting;
  std::string why_lost;
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;
  bool partial = false;
  double last_active = 0;
};

class Watch {
 public:
  Watch(EngineClient& client, const WatchOptions& options)
      : client_(client), options_(options), began_(monotonic_seconds()) {}

  int run() {
    for (;;) {
      const auto status = look();
      if (!status.ok()) return client_.report(status);
      const bool going = std::any_of(followed_.begin(), followed_.end(), [](const auto& f) {
        return f.second.state == Followed::State::waiting;
      });
      if (!going) return finish();
      draw();
      sleep_seconds(options_.interval_seconds);
    }
  }

 private:
  grpc::Status look();
  void look_at(const std::string& uri, const api::Child* child, double now);
  bool look_at_rebuild(const std::string& uri, Followed& f);
  void draw();
  int finish();

  EngineClient& client_;
  const WatchOptions& options_;
  const double began_;
  std::map<std::string, Followed> followed_;  // by URI
  api::Nexus nexus_;
  Rate rate_;
  unsigned tenths_noted_ = 0;
};

grpc::Status Watch::look() {
  api::ListNexusOptions request;
  request.mutable_uuid()->set_value(options_.uuid);
  api::ListNexusResponse answer;
  if (auto s = client_.try_call<Nexuses>(&Nexuses::Stub::ListNexus, request, &answer); !s.ok()) return s;
  const auto it = std::find_if(
      answer.nexus_list().begin(), answer.nexus_list().end(),
      [&](const api::Nexus& n) { return n.uuid() == options_.uuid || n.name() == options_.uuid; });
  if (it == answer.nexus_list().end()) {
    return {grpc::StatusCode::NOT_FOUND, fmt::format("nexus '{}' does not exist", options_.uuid)};
  }
  nexus_ = *it;
  const double now = monotonic_seconds();
  std::map<std::string, const api::Child*> children;
  for (const auto& c : nexus_.children()) children[c.uri()] = &c;
  if (followed_.empty()) {
    if (!options_.uri.empty() && !children.contains(options_.uri)) {
      return {grpc::StatusCode::NOT_FOUND,
              fmt::format("'{}' is no child of nexus '{}'", options_.uri, options_.uuid)};
    }
    for (const auto& [uri, child] : children) {
      if (options_.uri.empty() || uri == options_.uri) followed_[uri].last_active = now;
    }
  }
  for (auto& [uri, f] : followed_) {
    const auto child = children.find(uri);
    if (f.state == Followed::State::waiting)
      look_at(uri, child == children.end() ? nullptr : child->second, now);
  }
  return grpc::Status::OK;
}

void Watch::look_at(const std::string& uri, const api::Child* child, double now) {
  Followed& f = followed_[uri];
  auto lost = [&f](std::string why) {
    f.state = Followed::State::lost;
    f.why_lost = std::move(why);
  };
  if (child == nullptr) return lost("is no longer a child of the nexus");
  if (child->state() == api::CHILD_STATE_ONLINE) {
    f.state = Followed::State::in_sync;
    f.bytes_done = f.bytes_total;
    return;
  }
  if (child->state() == api::CHILD_STATE_FAULTED) {
    const auto reason = child_reason_word(child->state_reason());
    return lost(reason.empty() ? "is faulted" : fmt::format("is faulted ({})", reason));
  }
  if (look_at_rebuild(uri, f)) {
    f.last_active = now;
  } else if (child->state_reason() == api::CHILD_STATE_REASON_BY_CLIENT) {
    lost("was taken offline; 'nexus child online' brings it back");
  } else if (now - f.last_active > idle_seconds_max) {
    lost("is out of sync and no rebuild goes on; 'rebuild start' or 'rebuild resume' does that");
  }
}

// True while the rebuild of the child goes on.
bool Watch::look_at_rebuild(const std::string& uri, Followed& f) {
  api::RebuildStatsRequest request;
  request.set_nexus_uuid(nexus_.uuid());
  request.set_uri(uri);
  api::RebuildStatsResponse stats;
  if (!client_.try_call<Nexuses>(&Nexuses::Stub::GetRebuildStats, request, &stats).ok()) return false;
  // Of what has to be copied: blocks_recovered also counts what never had to be.
  f.bytes_total = (stats.blocks_transferred() + stats.blocks_remaining()) * stats.block_size();
  f.bytes_done = stats.blocks_transferred() * stats.block_size();
  f.partial = stats.is_partial();

  api::RebuildStateRequest state_request;
  state_request.set_nexus_uuid(nexus_.uuid());
  state_request.set_uri(uri);
  api::RebuildStateResponse state;
  if (!client_.try_call<Nexuses>(&Nexuses::Stub::GetRebuildState, state_request, &state).ok()) return false;
  std::string word = state.state();
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return word != "paused" && word != "stopped" && word != "failed";
}

void Watch::draw() {
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  std::size_t running = 0;
  bool partial = true;
  for (const auto& [uri, f] : followed_) {
    if (f.bytes_total == 0) continue;
    done += f.bytes_done;
    total += f.bytes_total;
    partial = partial && f.partial;
    if (f.state == Followed::State::waiting) ++running;
  }
  if (total == 0) {
    client_.output().live_line("rebuild: waiting for it to begin");
    return;
  }
  rate_.sample(monotonic_seconds(), done);
  const double share = static_cast<double>(done) / static_cast<double>(total);
  std::string text =
      fmt::format("rebuild{} [{}] {:3.0f} %  {} of {}{}",
                  running > 1 ? fmt::format(" of {} children", running) : "", bar(done, total), share * 100,
                  format_size(done), format_size(total), partial ? " (only what was missed)" : "");
  if (rate_.per_second() > 0) {
    text +=
        fmt::format("  {}/s  {} left", format_size(static_cast<std::uint64_t>(rate_.per_second())),
                    format_duration(static_cast<double>(total - std::min(done, total)) / rate_.per_second()));
  }
  if (client_.output().live()) {
    client_.output().live_line(text);
  } else if (const auto tenths = static_cast<unsigned>(share * 10); tenths > tenths_noted_) {
    tenths_noted_ = tenths;
    client_.output().note(text);
  }
}

int Watch::finish() {
  Output& out = client_.output();
  int status = exit_ok;
  out.answer(to_tree(nexus_), [&] {
    for (const auto& [uri, f] : followed_) {
      if (f.state == Followed::State::in_sync) out.line(fmt::format("{}  in sync", uri));
    }
  });
  for (const auto& [uri, f] : followed_) {
    if (f.state == Followed::State::lost)
      status = out.error("FAILED_PRECONDITION", fmt::format("{} {}", uri, f.why_lost));
  }
  const bool copied =
      std::any_of(followed_.begin(), followed_.end(), [](const auto& f) { return f.second.bytes_total > 0; });
  if (status == exit_ok && copied)
    out.note(fmt::format("in sync after {:.1f} s", monotonic_seconds() - began_));
  return status;
}

}  // namespace

int watch_rebuild(EngineClient& client, const WatchOptions& options) { return Watch(client, options).run(); }

}  // namespace holdfast::cli

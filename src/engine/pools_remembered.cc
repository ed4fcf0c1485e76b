// What an engine remembers of its pools: a file for each.
#include <algorithm>
#include <filesystem>
#include <functional>
#include <utility>

#include <google/protobuf/util/json_util.h>

#include "base/log.h"
#include "engine/pools.h"
#include "holdfast/v1/pool.pb.h"

namespace holdfast::engine {
namespace {

std::string to_json(const Pools::Known& known) {
  holdfast::v1::PoolConfig config;
  config.set_name(known.name);
  config.set_uuid(known.uuid.to_string());
  for (const auto& disk : known.disks) config.add_disks(disk);
  config.mutable_thresholds()->set_warning(known.used_percent_warning);
  config.mutable_thresholds()->set_critical(known.used_percent_critical);
  std::string text;
  google::protobuf::util::JsonPrintOptions how;
  how.add_whitespace = true;
  how.preserve_proto_field_names = true;
  const auto printed = google::protobuf::util::MessageToJsonString(config, &text, how);
  HF_ASSERT(printed.ok());
  return text;
}

Result<std::unique_ptr<Pools::Known>> from_json(const std::string& text) {
  holdfast::v1::PoolConfig config;
  google::protobuf::util::JsonParseOptions how;
  how.ignore_unknown_fields = true;
  if (!google::protobuf::util::JsonStringToMessage(text, &config, how).ok() || config.name().empty() ||
      config.disks().empty()) {
    return Error(Errc::bad_format, "it does not name a pool and its disks");
  }
  auto known = std::make_unique<Pools::Known>();
  known->name = config.name();
  HF_TRY(known->uuid, Uuid::parse(config.uuid()));
  known->disks.assign(config.disks().begin(), config.disks().end());
  const auto& limits = config.thresholds();
  if (limits.warning() >= 1 && limits.warning() <= limits.critical() && limits.critical() <= 100) {
    known->used_percent_warning = limits.warning();
    known->used_percent_critical = limits.critical();
  }
  return known;
}

}  // namespace

Task<std::vector<std::string>> Pools::remembered_files() {
  std::vector<std::string> paths;
  std::function<void()> look = [this, &paths] {
    std::error_code failure;
    for (const auto& entry : std::filesystem::directory_iterator(directory_, failure)) {
      if (entry.path().extension() == ".json") paths.push_back(entry.path());
    }
  };
  co_await home().run_blocking(std::move(look));
  std::sort(paths.begin(), paths.end());
  co_return paths;
}

Task<void> Pools::load(std::string path) {
  auto text = co_await home().read_file(path);
  Result<std::unique_ptr<Known>> known = text.ok() ? from_json(text.value()) : text.error();
  if (!known.ok()) {
    HF_LOG(error, "pool", "a remembered pool cannot be read: import it by hand", {"file", path},
           {"error", known.error()});
    co_return;
  }
  std::string name = known.value()->name;
  known.value()->reason = "it is being opened";
  known_.try_emplace(std::move(name), std::move(known).value());
}

Task<Status> Pools::remember(const Known& known) {
  co_return co_await home().replace_file(path_of(known.uuid), to_json(known));
}

// The pool is there whether or not it could be written down.
Task<void> Pools::try_to_remember(const Known& known) {
  const Status kept = co_await remember(known);
  if (kept.ok()) co_return;
  HF_LOG(error, "pool", "the pool will not be opened after a restart", {"pool", known.name},
         {"error", kept.error()});
}

Task<Status> Pools::forget(const Known& known) {
  const std::string name = known.name;
  HF_CO_CHECK(co_await home().remove_file(path_of(known.uuid)));
  known_.erase(name);
  co_return Status();
}

}  // namespace holdfast::engine

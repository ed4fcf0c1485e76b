#include "engine/foreign_data.h"

#include <functional>
#include <memory>
#include <optional>

#include <blkid/blkid.h>
#include <fmt/format.h>

#include "block/uri.h"

namespace holdfast::engine {
namespace {

struct ProbeDeleter {
  void operator()(blkid_probe p) const noexcept { blkid_free_probe(p); }
};
using Probe = std::unique_ptr<std::remove_pointer_t<blkid_probe>, ProbeDeleter>;

std::string value(const Probe& probe, const char* key) {
  const char* text = nullptr;
  if (blkid_probe_lookup_value(probe.get(), key, &text, nullptr) != 0 || text == nullptr) return "";
  return text;
}

// What is there, in words; empty when nothing is known to be. Blocks.
Result<std::string> content_of(const std::string& path, const char* command) {
  const Probe probe(blkid_new_probe_from_filename(path.c_str()));
  if (probe == nullptr) return std::string();  // whoever opens the disk says what is wrong with it
  blkid_probe_enable_superblocks(probe.get(), 1);
  blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
  blkid_probe_enable_partitions(probe.get(), 1);
  const int found = blkid_do_safeprobe(probe.get());
  if (found == -2) return std::string("several signatures that contradict each other");
  if (found < 0) {
    return Error(
        Errc::io_error,
        fmt::format("disk {} could not be searched for what others keep there: name another disk, or "
                    "overwrite it by 'holdfast engine pool {} --force'",
                    path, command));
  }
  if (found != 0) return std::string();
  const std::string label = value(probe, "LABEL");
  if (const auto type = value(probe, "TYPE"); !type.empty()) {
    return label.empty() ? fmt::format("'{}' data", type)
                         : fmt::format("'{}' data with the label '{}'", type, label);
  }
  if (const auto table = value(probe, "PTTYPE"); !table.empty())
    return fmt::format("a '{}' partition table", table);
  return std::string();
}

// The path of a file or block device; empty for other devices.
std::string path_of(const DeviceRegistry& devices, const std::string& disk) {
  const BlockDevice* known = devices.find(disk);
  const auto uri = Uri::parse(known != nullptr ? known->identity().uri : disk);
  if (!uri.ok() || (uri.value().scheme != "aio" && uri.value().scheme != "uring")) return "";
  return uri.value().path;
}

}  // namespace

Task<Status> check_foreign_data(DeviceRegistry& devices, std::string disk, const char* command) {
  const std::string path = path_of(devices, disk);
  if (path.empty()) co_return Status();
  std::optional<Result<std::string>> found;
  std::function<void()> look = [&] { found.emplace(content_of(path, command)); };
  co_await devices.cores().home().run_blocking(std::move(look));
  HF_CO_TRY(const std::string content, std::move(*found));
  if (content.empty()) co_return Status();
  co_return Error(Errc::failed_precondition,
                  fmt::format("disk {} holds {}: name another disk, erase it (wipefs), or overwrite it by "
                              "'holdfast engine pool {} --force'",
                              path, content, command));
}

}  // namespace holdfast::engine

#include "cli/attach/record.h"

#include <algorithm>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>

#include "base/uuid.h"

namespace holdfast::cli {

const char* word(AttachVia via) noexcept { return via == AttachVia::kernel ? "kernel" : "user"; }

nlohmann::ordered_json Attachment::to_tree() const {
  nlohmann::ordered_json tree = {{"id", id}, {"uri", uri}, {"via", word(via)}, {"device", device}};
  if (via == AttachVia::kernel) {
    tree["controller"] = controller;
    if (found) tree["found"] = true;
    if (!others.empty()) tree["others"] = others;
  } else {
    tree["pid"] = pid;
    tree["state"] = state;
    if (!space.empty()) tree["namespace"] = space;
  }
  if (!error.empty()) tree["error"] = error;
  return tree;
}

Result<Attachment> Attachment::from_text(const std::string& text) {
  const auto tree = nlohmann::ordered_json::parse(text, nullptr, false);
  if (!tree.is_object()) return Error(Errc::bad_format, "not a JSON object");
  auto field = [&tree](const char* key) {
    const auto it = tree.find(key);
    return it != tree.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  Attachment a;
  a.id = field("id");
  a.uri = field("uri");
  a.via = field("via") == word(AttachVia::kernel) ? AttachVia::kernel : AttachVia::user;
  a.device = field("device");
  a.controller = field("controller");
  if (const auto pid = tree.find("pid"); pid != tree.end() && pid->is_number_integer())
    a.pid = pid->get<int>();
  if (const auto found = tree.find("found"); found != tree.end() && found->is_boolean())
    a.found = found->get<bool>();
  if (const auto others = tree.find("others"); others != tree.end() && others->is_array()) {
    for (const auto& place : *others)
      if (place.is_string()) a.others.push_back(place.get<std::string>());
  }
  a.state = field("state");
  a.space = field("namespace");
  a.error = field("error");
  if (a.id.empty() || a.uri.empty() || a.device.empty())
    return Error(Errc::bad_format, "id, uri or device is missing");
  return a;
}

std::string attachment_id(const nvmf::RemoteConfig& remote) {
  const std::string name =
      fmt::format("{}/{}/{}", remote.host.to_string(), remote.nqn, remote.nsid.value_or(0)) +
      (remote.uuid ? remote.uuid->to_string() : std::string());
  return Uuid::from_name(name).to_string().substr(0, 8);
}

Result<FileDescriptor> AttachStore::lock(const std::string& id) const {
  const std::string file = path(id, ".lock");
  FileDescriptor fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return system_error(file);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK)
    return Error(Errc::busy, fmt::format("attachment {} is in use by another process", id));
  return system_error(file);
}

Status AttachStore::save(const Attachment& attachment) const {
  // Paths need not be UTF-8.
  const auto replace = nlohmann::ordered_json::error_handler_t::replace;
  return replace_text(path(attachment.id, ".json"), attachment.to_tree().dump(2, ' ', false, replace) + "\n");
}

Result<Attachment> AttachStore::load(const std::string& id) const {
  const std::string file = path(id, ".json");
  HF_TRY(const std::string text, read_text(file));
  auto attachment = Attachment::from_text(text);
  if (!attachment.ok()) return attachment.error().with_context(file);
  return attachment;
}

void AttachStore::forget(const std::string& id) const {
  // The lock file stays: removing it while somebody waits for it would give two owners of one name.
  ::unlink(path(id, ".json").c_str());
  ::unlink(log_file(id).c_str());
  ::rmdir(mount_directory(id).c_str());
}

Result<std::vector<Attachment>> AttachStore::all() const {
  std::vector<Attachment> found;
  std::error_code error;
  std::filesystem::directory_iterator entry(directory_, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (entry->path().extension() != ".json") continue;
    auto attachment = load(entry->path().stem().string());
    if (attachment.ok()) found.push_back(std::move(attachment).value());
  }
  if (error == std::errc::permission_denied) {
    return Error(
        Errc::failed_precondition,
        fmt::format("what is attached is for root alone to see ({}): run this with sudo", directory_));
  }
  if (error && error != std::errc::no_such_file_or_directory) return system_error(directory_, error.value());
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.device < b.device; });
  return found;
}

}  // namespace holdfast::cli

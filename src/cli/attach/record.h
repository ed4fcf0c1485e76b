// What is attached on this machine: one JSON file for each attachment below the run directory, and a lock
// that lives as long as the process that serves it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/error.h"
#include "cli/attach/system.h"
#include "nvmf/initiator/config.h"

namespace holdfast::cli {

enum class AttachVia : std::uint8_t {
  kernel,  // the kernel's NVMe/TCP initiator
  user,    // ours, as a file under a loop device
};
const char* word(AttachVia via) noexcept;

struct Attachment {
  std::string id;
  std::string uri;
  AttachVia via = AttachVia::user;
  std::string device;               // "/dev/loop0", "/dev/nvme0n1"
  std::string controller;           // kernel: "nvme0"
  bool found = false;               // kernel: the connection was there before, and stays
  std::vector<std::string> others;  // kernel: where others had mounted the device then
  int pid = 0;                      // user: of the process that serves it
  std::string state;                // user: "online", "reconnecting", "lost" (too long), "detaching"
  std::string space;                // user: UUID of the namespace, which other URIs may name as well
  std::string error;  // user: what went wrong at the end: then data may be missing at the target

  nlohmann::ordered_json to_tree() const;
  // Errors: bad_format.
  static Result<Attachment> from_text(const std::string& text);
};

// The same target, subsystem and namespace give the same id, whatever parameters the URI has.
std::string attachment_id(const nvmf::RemoteConfig& remote);

class AttachStore {
 public:
  explicit AttachStore(std::string directory) : directory_(std::move(directory)) {}

  // Makes the directory.
  Status prepare() { return make_directories(directory_); }
  // Held until the descriptor and all its copies in other processes are closed. Errors: busy.
  Result<FileDescriptor> lock(const std::string& id) const;

  Status save(const Attachment& attachment) const;
  Result<Attachment> load(const std::string& id) const;  // not_found, bad_format
  // Everything that a record stands for is gone.
  void forget(const std::string& id) const;
  // Records that cannot be read are left out; none without the directory. Errors: failed_precondition (it is for
  // its owner alone).
  Result<std::vector<Attachment>> all() const;

  std::string mount_directory(const std::string& id) const { return path(id, ".fuse"); }
  std::string log_file(const std::string& id) const { return path(id, ".log"); }

 private:
  std::string path(const std::string& id, const char* suffix) const { return directory_ + "/" + id + suffix; }

  std::string directory_;
};

}  // namespace holdfast::cli

// Attaching and detaching, with everything that was attached before in view.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/attach/record.h"

namespace holdfast::cli {

struct AttachOptions {
  std::string uri;
  std::string mountpoint;        // empty: only the device
  std::string mount_options;     // as in fstab
  std::optional<AttachVia> via;  // nullopt: the kernel where it can
  bool read_only = false;
  double grace_seconds =
      600;                    // I/O waits so long for a target that is out of reach; grace_ms in the URI wins
  std::int64_t spin_us = 50;  // user: how long the idle process polls before it sleeps
};

struct DetachOptions {
  bool force = false;  // what cannot be written is given up
  double timeout_seconds = 60;
};

class Attachments {
 public:
  // sys: where the kernel shows its devices.
  explicit Attachments(AttachStore store, std::string sys = "/sys")
      : store_(std::move(store)), sys_(std::move(sys)) {}

  // Makes the device, unless the URI is attached already, and mounts it where that was asked for and not done
  // yet. When mounting fails, a device made here is taken away again. Errors: invalid_argument (the URI),
  // failed_precondition (no root; no filesystem), not_supported (no way to make a block device here), and
  // those of connecting.
  Result<Attachment> attach(const AttachOptions& options);
  // By device, mount point, URI or id. Errors: not_found, and those of all().
  Result<Attachment> find(const std::string& what) const;
  // Unmounts, flushes, takes the device away. A device, or a connection of the kernel, that somebody else has by now,
  // or has as well, is left alone. Errors: busy (in use); failed_precondition (the target is out
  // of reach, without force); timed_out; io_error (gone, and the last writes did not reach the target).
  Status detach(const Attachment& attachment, const DetachOptions& options);
  // Errors: failed_precondition (no root).
  Result<std::vector<Attachment>> all() const { return store_.all(); }
  // False once the process that serves it has died, or the kernel's connection is gone.
  bool is_served(const Attachment& attachment) const;

 private:
  Result<Attachment> make(const AttachOptions& options, const nvmf::RemoteConfig& remote,
                          const std::string& id);
  Status detach_kernel(const Attachment& attachment, const DetachOptions& options);
  Status leave_connection(const Attachment& attachment, bool force) const;
  bool owns_loop(const Attachment& attachment) const;
  Status unmount_all(const Attachment& attachment, bool force) const;
  Status end_process(const Attachment& attachment, const DetachOptions& options);
  void clean_up(const Attachment& attachment) const;

  AttachStore store_;
  std::string sys_;
};

}  // namespace holdfast::cli

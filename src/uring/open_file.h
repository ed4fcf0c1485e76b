// Opening and measuring files and block devices: blocking calls, made on a helper thread.
#pragma once

#include <string>

#include "base/error.h"
#include "rt/io.h"
#include "uring/socket.h"

namespace holdfast::uring {

struct OpenedFile {
  Fd fd;
  File::Info info;
};

// Errors: as Reactor::open_file; every text names the path and what to do.
Result<OpenedFile> open_blocking(const std::string& path, const OpenOptions& options);
// The size now.
Result<std::uint64_t> size_blocking(int fd, bool is_block_device, const std::string& path);

// Small whole files, for replace_file, read_file and remove_file of the reactor.
Status replace_blocking(const std::string& path, const std::string& content);
Result<std::string> read_blocking(const std::string& path);
Status remove_blocking(const std::string& path);

}  // namespace holdfast::uring

// FileDevice: a file or block device of the system as a BlockDevice. Schemes "aio" and "uring": one backend.
//
// The home core holds the file exclusively as long as the device exists; each channel has a descriptor of its
// own. Buffers of any alignment are taken; those that direct I/O cannot use are copied.
#pragma once

#include <memory>
#include <string>

#include "block/leaf_device.h"
#include "block/registry.h"

namespace holdfast {

class FileDevice final : public LeafDevice {
 public:
  struct Options {
    std::string path;
    std::uint32_t block_bytes = 0;  // 0: the device's own, 512 for files
    bool read_only = false;
  };

  // Errors: not_found, busy, read_only, invalid_argument (a directory, too small, a block size that the disk
  // cannot do); the texts name the path and the remedy.
  static Task<Result<std::unique_ptr<BlockDevice>>> open(const Cores& cores, Identity identity,
                                                         Options options);
  FileDevice(Identity identity, const Cores& cores, const Geometry& geometry, const Capabilities& can,
             Options options, std::unique_ptr<File> file);

  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override;
  Task<Status> rescan() override;
  Task<void> close() override;
  const std::string& path() const noexcept { return options_.path; }

 private:
  const Options options_;
  std::unique_ptr<File> file_;
};

// aio:///PATH?blk_size=N&uuid=U&rescan&read_only, uring:///PATH likewise. Without `uuid` a device gets one
// that depends on the path and `host` alone, so that it is the same after a restart and another one on other
// hosts.
DeviceRegistry::Scheme file_scheme(const Cores& cores, std::string host);

}  // namespace holdfast

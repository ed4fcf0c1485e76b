// A namespace of an engine, read and written by the test itself through our initiator. Blocks until each
// operation has ended. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "block/registry.h"
#include "uring/runtime.h"

namespace holdfast::e2e {

class RemoteDisk {
 public:
  // nvmf://...; panics when the runtime cannot be made.
  explicit RemoteDisk(const std::string& uri);
  ~RemoteDisk();
  RemoteDisk(const RemoteDisk&) = delete;
  RemoteDisk& operator=(const RemoteDisk&) = delete;

  Status opened();  // once, before anything else
  std::uint64_t size_bytes() const;
  // Whole blocks. `offset` in bytes.
  Status write(std::uint64_t offset, const std::vector<std::byte>& data);
  Result<std::vector<std::byte>> read(std::uint64_t offset, std::size_t bytes);
  Status flush();

 private:
  Task<Status> open(std::string uri);
  Task<void> close();

  std::unique_ptr<uring::Runtime> runtime_;
  std::unique_ptr<DeviceRegistry> registry_;
  BlockDevice* device_ = nullptr;
  std::unique_ptr<Channel> channel_;
  std::string uri_;
};

// What a piece of a disk holds after its `generation`-th write: told from its place alone, so that no copy is
// kept.
std::vector<std::byte> pattern(std::uint64_t offset, std::uint32_t generation, std::size_t bytes);

}  // namespace holdfast::e2e

#include "e2e/remote_disk.h"

#include "base/prng.h"
#include "nvmf/initiator/initiator.h"

namespace holdfast::e2e {

RemoteDisk::RemoteDisk(const std::string& uri) : uri_(uri) {
  uring::Runtime::Options options;
  options.memory_bytes = 32 * MiB;
  auto runtime = uring::Runtime::create(options);
  runtime_ = std::move(runtime).value();
  registry_ = std::make_unique<DeviceRegistry>(runtime_->cores());
  nvmf::InitiatorConfig config;
  config.hostnqn = "nqn.2019-05.io.openebs:node-name:e2e";
  nvmf::register_nvmf_scheme(*registry_, runtime_->cores(), config);
}

RemoteDisk::~RemoteDisk() { runtime_->run(close()); }

Status RemoteDisk::opened() { return runtime_->run(open(uri_)); }

Task<Status> RemoteDisk::open(std::string uri) {
  HF_CO_TRY(device_, co_await registry_->create(std::move(uri)));
  HF_CO_TRY(channel_, co_await device_->open_channel(runtime_->home()));
  co_return Status();
}

Task<void> RemoteDisk::close() {
  if (channel_) co_await channel_->close();
  channel_.reset();
  co_await registry_->close();
}

std::uint64_t RemoteDisk::size_bytes() const { return device_->geometry().size_bytes(); }

Status RemoteDisk::write(std::uint64_t offset, const std::vector<std::byte>& data) {
  const IoVec vec{const_cast<std::byte*>(data.data()), data.size()};
  const Lba first{offset / device_->geometry().block_bytes};
  return runtime_->run(channel_->write(first, IoVecs(&vec, 1), Durable::no));
}

Result<std::vector<std::byte>> RemoteDisk::read(std::uint64_t offset, std::size_t bytes) {
  std::vector<std::byte> data(bytes);
  const IoVec vec{data.data(), data.size()};
  const Lba first{offset / device_->geometry().block_bytes};
  HF_CHECK(runtime_->run(channel_->read(first, IoVecs(&vec, 1))));
  return data;
}

Status RemoteDisk::flush() { return runtime_->run(channel_->flush()); }

std::vector<std::byte> pattern(std::uint64_t offset, std::uint32_t generation, std::size_t bytes) {
  Prng prng(offset * 2654435761u + generation);
  std::vector<std::byte> data(bytes);
  for (auto& b : data) b = static_cast<std::byte>(prng.next());
  return data;
}

}  // namespace holdfast::e2e

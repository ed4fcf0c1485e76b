#include "block/memory_devices.h"

#include <cstring>
#include <utility>

#include "base/units.h"
#include "block/uri_names.h"

namespace holdfast {

namespace {

class MallocChannel final : public LeafChannel {
 public:
  MallocChannel(MallocDevice& device, Reactor& core) noexcept
      : LeafChannel(device, core), memory_(device.memory()), epochs_(device.memory_epochs()) {}

  Task<Status> read(Lba first, IoVecs into) override {
    const BlockRange range = range_of(first, into);
    HF_CO_CHECK(admit(range, Access::read));
    std::uint64_t at = offset_of(first);
    for (const IoVec& v : into) {
      memory_.read(at, v.data, v.size);
      at += v.size;
    }
    counters().read_done(bytes(range.count));
    co_return Status();
  }
  Task<Status> write(Lba first, IoVecs from, Durable) override {
    const BlockRange range = range_of(first, from);
    HF_CO_CHECK(admit(range, Access::write));
    mark(range);
    std::uint64_t at = offset_of(first);
    for (const IoVec& v : from) {
      if (!memory_.write(at, v.data, v.size)) co_return fail(Error(Errc::out_of_space));
      at += v.size;
    }
    counters().write_done(bytes(range.count));
    co_return Status();
  }
  Task<Status> write_zeroes(BlockRange range, Unmap, Durable) override {
    HF_CO_CHECK(admit(range, Access::write));
    co_await zero(range);
    counters().write_done(bytes(range.count));
    co_return Status();
  }
  Task<Status> deallocate(BlockRange range) override {
    HF_CO_CHECK(admit(range, Access::write));
    co_await zero(range);
    counters().unmap_done(bytes(range.count));
    co_return Status();
  }
  Task<Status> flush() override { co_return admit(BlockRange(), Access::read); }

 private:
  void mark(BlockRange range) noexcept {
    if (epochs_ != nullptr && range.count > 0) epochs_->mark(offset_of(range.first), bytes(range.count));
  }
  // A turn of the core clears little, be it one long command or many short ones that one task gives.
  Task<void> zero(BlockRange range) {
    constexpr std::uint64_t much_bytes = 64 * KiB;
    mark(range);
    std::uint64_t at = offset_of(range.first);
    const std::uint64_t end = at + bytes(range.count);
    while (at < end) {
      const SparseMemory::Zeroed part = memory_.zero_some(at, end - at);
      at += part.passed;
      if (at < end || part.cleared >= much_bytes) co_await core().yield();
    }
  }
  SparseMemory& memory_;
  MemoryEpochs* const epochs_;  // nullptr: none are kept
};

class NullChannel final : public LeafChannel {
 public:
  using LeafChannel::LeafChannel;

  Task<Status> read(Lba first, IoVecs into) override {
    const BlockRange range = range_of(first, into);
    HF_CO_CHECK(admit(range, Access::read));
    for (const IoVec& v : into) std::memset(v.data, 0, v.size);  // never what the buffer held before
    counters().read_done(bytes(range.count));
    co_return Status();
  }
  Task<Status> write(Lba first, IoVecs from, Durable) override {
    const BlockRange range = range_of(first, from);
    HF_CO_CHECK(admit(range, Access::write));
    counters().write_done(bytes(range.count));
    co_return Status();
  }
  Task<Status> write_zeroes(BlockRange range, Unmap, Durable) override {
    HF_CO_CHECK(admit(range, Access::write));
    counters().write_done(bytes(range.count));
    co_return Status();
  }
  Task<Status> deallocate(BlockRange range) override {
    HF_CO_CHECK(admit(range, Access::write));
    counters().unmap_done(bytes(range.count));
    co_return Status();
  }
  Task<Status> flush() override { co_return admit(BlockRange(), Access::read); }
};

Capabilities memory_capabilities() {
  Capabilities can;
  can.write_zeroes = can.deallocate = can.compare = true;
  can.volatile_cache = false;
  return can;
}

struct Wanted {
  Geometry geometry;
  std::optional<Uuid> uuid;
  bool resize = false;
  bool epochs = false;
};

Result<std::uint64_t> wanted_bytes(const Uri& uri, UriParameters& parameters, std::uint32_t block_bytes) {
  HF_TRY(const auto megabytes, parameters.take_number("size_mb"));
  HF_TRY(const auto blocks, parameters.take_number("num_blocks"));
  const auto bad = [&](const char* why) {
    return Error(Errc::invalid_argument, "'" + uri.text + "': " + why);
  };
  if (megabytes.has_value() == blocks.has_value()) return bad("give either size_mb or num_blocks");
  const std::uint64_t unit = megabytes ? MiB : block_bytes;
  const std::uint64_t count = megabytes ? *megabytes : *blocks;
  if (count == 0) return bad("the size must not be zero");
  if (count > SparseMemory::size_max / unit) return bad("the size must be at most 1 TiB");
  return count * unit;
}

Result<Wanted> parse(const Uri& uri, bool is_malloc) {
  UriParameters parameters(uri);
  Wanted wanted;
  Geometry& g = wanted.geometry;
  HF_TRY(const auto block, parameters.take_number("blk_size"));
  if (block && *block != 512 && *block != 4096)
    return Error(Errc::invalid_argument, "'" + uri.text + "': blk_size must be 512 or 4096");
  g.block_bytes = block ? static_cast<std::uint32_t>(*block) : 512;
  HF_TRY(wanted.uuid, parameters.take_uuid());
  if (is_malloc) {
    HF_TRY(wanted.resize, parameters.take_flag("resize"));
    HF_TRY(wanted.epochs, parameters.take_flag("epochs"));
  }
  auto size = wanted_bytes(uri, parameters, g.block_bytes);
  const bool has_size = size.ok();
  HF_CHECK(parameters.finish());  // an unknown parameter is the better explanation of a missing size
  if (!has_size) return size.error();
  g.block_count = size.value() / g.block_bytes;
  g.deallocated_reads_zero = true;
  return wanted;
}

BlockDevice::Identity identity(const Uri& uri, const Wanted& wanted, const char* product,
                               const Cores& cores) {
  BlockDevice::Identity id;
  id.name = uri.path.substr(1);
  id.uuid = wanted.uuid ? *wanted.uuid : Uuid::random(cores.home().random());
  id.uri = uri.text;
  id.product_name = product;
  return id;
}

Task<Result<std::unique_ptr<BlockDevice>>> make_malloc(const Uri& uri, const Cores& cores) {
  HF_CO_TRY(const Wanted wanted, parse(uri, true));
  std::unique_ptr<BlockDevice> device = std::make_unique<MallocDevice>(
      identity(uri, wanted, "Malloc disk", cores), cores, wanted.geometry, wanted.epochs);
  co_return device;
}

Task<Result<std::unique_ptr<BlockDevice>>> make_null(const Uri& uri, const Cores& cores) {
  HF_CO_TRY(const Wanted wanted, parse(uri, false));
  std::unique_ptr<BlockDevice> device =
      std::make_unique<NullDevice>(identity(uri, wanted, "Null disk", cores), cores, wanted.geometry);
  co_return device;
}

Task<Status> resize_existing(const Uri& uri, BlockDevice& existing) {
  HF_CO_TRY(const Wanted wanted, parse(uri, true));
  auto* device = dynamic_cast<MallocDevice*>(&existing);
  if (device == nullptr || !wanted.resize)
    co_return Error(Errc::already_exists, "device '" + existing.name() + "' exists already");
  if (wanted.geometry.block_bytes != device->block_bytes())
    co_return Error(Errc::invalid_argument, "'" + uri.text + "': the block size of a device cannot change");
  if (wanted.uuid && *wanted.uuid != device->identity().uuid)
    co_return Error(Errc::invalid_argument, "'" + uri.text + "': device '" + device->name() + "' has UUID " +
                                                device->identity().uuid.to_string());
  co_return device->resize(wanted.geometry.block_count);
}

}  // namespace

MallocDevice::MallocDevice(Identity identity, const Cores& cores, const Geometry& geometry, bool epochs)
    : LeafDevice(std::move(identity), cores, geometry, memory_capabilities()), memory_(cores.count() > 1) {
  if (epochs) epochs_ = std::make_unique<MemoryEpochs>(memory_, geometry.size_bytes());
}

Task<Result<std::unique_ptr<Channel>>> MallocDevice::open_channel(Reactor& core) {
  std::unique_ptr<Channel> channel = std::make_unique<MallocChannel>(*this, core);
  co_return channel;
}

Status MallocDevice::resize(std::uint64_t block_count) {
  if (block_count < geometry().block_count)
    return Error(Errc::invalid_argument, "device '" + name() + "' cannot become smaller");
  if (epochs_) epochs_->resize(block_count * block_bytes());
  set_block_count(block_count);
  return Status();
}

NullDevice::NullDevice(Identity identity, const Cores& cores, const Geometry& geometry)
    : LeafDevice(std::move(identity), cores, geometry, memory_capabilities()) {}

Task<Result<std::unique_ptr<Channel>>> NullDevice::open_channel(Reactor& core) {
  std::unique_ptr<Channel> channel = std::make_unique<NullChannel>(*this, core);
  co_return channel;
}

DeviceRegistry::Scheme malloc_scheme(const Cores& cores) {
  DeviceRegistry::Scheme scheme;
  scheme.name = name_without_slash;
  scheme.create = [&cores](const Uri& uri) { return make_malloc(uri, cores); };
  scheme.refresh = resize_existing;
  return scheme;
}

DeviceRegistry::Scheme null_scheme(const Cores& cores) {
  DeviceRegistry::Scheme scheme;
  scheme.name = name_without_slash;
  scheme.create = [&cores](const Uri& uri) { return make_null(uri, cores); };
  return scheme;
}

}  // namespace holdfast

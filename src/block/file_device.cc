#include "block/file_device.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/log.h"
#include "base/units.h"
#include "block/uri_names.h"

namespace holdfast {

namespace {

class FileChannel final : public LeafChannel {
 public:
  FileChannel(FileDevice& device, Reactor& core, std::unique_ptr<File> file) noexcept
      : LeafChannel(device, core),
        file_(std::move(file)),
        alignment_(file_->info().direct ? file_->info().block_bytes : 1),
        holes_read_zero_(!file_->info().is_block_device) {}

  Task<Status> read(Lba first, IoVecs into) override {
    const BlockRange range = range_of(first, into);
    HF_CO_CHECK(admit(range, Access::read));
    if (!aligned(into)) [[unlikely]]
      co_return co_await read_by_copy(range, into);
    const auto got = co_await file_->read(offset_of(first), into);
    if (!got.ok()) co_return fail(got.error());
    if (got.value() != bytes(range.count)) co_return fail(Error(Errc::io_error));
    counters().read_done(got.value());
    co_return Status();
  }

  Task<Status> write(Lba first, IoVecs from, Durable durable) override {
    const BlockRange range = range_of(first, from);
    HF_CO_CHECK(admit(range, Access::write));
    if (!aligned(from)) [[unlikely]]
      co_return co_await write_by_copy(range, from, durable);
    const auto done = co_await file_->write(offset_of(first), from, durable == Durable::yes);
    if (!done.ok()) co_return co_await change_failed(range, done.error());
    if (done.value() != bytes(range.count)) co_return fail(Error(Errc::io_error));
    counters().write_done(done.value());
    co_return Status();
  }

  Task<Status> write_zeroes(BlockRange range, Unmap unmap, Durable durable) override {
    HF_CO_CHECK(admit(range, Access::write));
    if (range.count == 0) co_return Status();
    bool zeroed = false;
    if (unmap == Unmap::yes && holes_read_zero_ && file_->info().can_discard) {
      const auto punched = co_await file_->discard(offset_of(range.first), bytes(range.count));
      if (!punched.ok() && punched.code() != Errc::not_supported) co_return fail(punched.error());
      zeroed = punched.ok();
    }
    if (!zeroed) {
      const auto done = co_await file_->write_zeroes(offset_of(range.first), bytes(range.count));
      if (!done.ok()) co_return co_await change_failed(range, done.error());
    }
    if (durable == Durable::yes) HF_CO_CHECK(co_await flush());
    counters().write_done(bytes(range.count));
    co_return Status();
  }

  Task<Status> deallocate(BlockRange range) override {
    HF_CO_CHECK(admit(range, Access::write));
    if (range.count == 0) co_return Status();
    if (!file_->info().can_discard) co_return fail(Error(Errc::not_supported));
    const auto done = co_await file_->discard(offset_of(range.first), bytes(range.count));
    if (!done.ok()) co_return co_await change_failed(range, done.error());
    counters().unmap_done(bytes(range.count));
    co_return Status();
  }

  Task<Status> flush() override {
    HF_CO_CHECK(admit(BlockRange(), Access::read));
    const auto done = co_await file_->sync();
    if (!done.ok()) co_return fail(done.error());
    co_return Status();
  }

  Task<void> close() override { co_await file_->close(); }

 private:
  static constexpr std::size_t copy_bytes_max = 256 * KiB;

  bool aligned(IoVecs vectors) const noexcept {
    if (alignment_ == 1) return true;
    for (const IoVec& v : vectors) {
      if ((std::bit_cast<std::uintptr_t>(v.data) | v.size) & (alignment_ - 1)) return false;
    }
    return true;
  }

  // Of a disk that was taken out the kernel says that there is no space (writes), or no such range (the others): it has
  // no size any more. Who hears that would take it for a full one.
  Task<Status> change_failed(BlockRange range, Error why) {
    const bool may_be_gone = why.code() == Errc::out_of_space || why.code() == Errc::invalid_argument;
    if (may_be_gone && file_->info().is_block_device) {
      const Status seen = co_await file_->refresh();
      const std::uint64_t end = offset_of(range.first) + bytes(range.count);
      if (!seen.ok() || end > file_->info().size_bytes)
        co_return fail(Error(Errc::io_error, why.sys_errno()));
    }
    co_return fail(why);
  }

  Task<Status> read_by_copy(BlockRange range, IoVecs into) {
    const std::size_t total = bytes(range.count);
    const ScratchBuffer buffer(core(), std::min(total, copy_bytes_max));
    for (std::size_t at = 0; at < total;) {
      const IoVec piece{buffer.data(), std::min(total - at, buffer.size())};
      const auto got = co_await file_->read(offset_of(range.first) + at, IoVecs(&piece, 1));
      if (!got.ok()) co_return fail(got.error());
      if (got.value() != piece.size) co_return fail(Error(Errc::io_error));
      copy_to_vectors(piece.data, piece.size, into, at);
      at += piece.size;
    }
    counters().read_done(total);
    co_return Status();
  }

  Task<Status> write_by_copy(BlockRange range, IoVecs from, Durable durable) {
    const std::size_t total = bytes(range.count);
    const ScratchBuffer buffer(core(), std::min(total, copy_bytes_max));
    for (std::size_t at = 0; at < total;) {
      const IoVec piece{buffer.data(), std::min(total - at, buffer.size())};
      copy_from_vectors(from, at, piece.data, piece.size);
      const auto done =
          co_await file_->write(offset_of(range.first) + at, IoVecs(&piece, 1), durable == Durable::yes);
      if (!done.ok()) co_return co_await change_failed(range, done.error());
      if (done.value() != piece.size) co_return fail(Error(Errc::io_error));
      at += piece.size;
    }
    counters().write_done(total);
    co_return Status();
  }

  std::unique_ptr<File> file_;
  const std::uint32_t alignment_;
  const bool holes_read_zero_;
};

OpenOptions open_options(const FileDevice::Options& options, bool exclusive) {
  OpenOptions o;
  o.read_only = options.read_only;
  o.exclusive = exclusive;
  return o;
}

Result<Geometry> geometry_of(const File::Info& info, const FileDevice::Options& options) {
  const std::uint32_t own = info.direct || info.is_block_device ? info.block_bytes : 512;
  const auto bad = [&](const std::string& why) {
    return Error(Errc::invalid_argument, "'" + options.path + "' " + why);
  };
  Geometry g;
  g.block_bytes = options.block_bytes != 0 ? options.block_bytes : own;
  if (g.block_bytes < own) {
    return bad("has blocks of " + std::to_string(own) + " bytes: leave blk_size out, or give at least that");
  }
  if (g.block_bytes > 4096) return bad("has blocks of more than 4096 bytes, which is not supported");
  g.block_count = info.size_bytes / g.block_bytes;
  if (g.block_count == 0) {
    return bad("holds " + std::to_string(info.size_bytes) + " bytes, less than one block of " +
               std::to_string(g.block_bytes) + ": make it larger (truncate -s SIZE)");
  }
  if (info.size_bytes % g.block_bytes != 0) {
    HF_LOG(warn, "block", "the size is not a whole number of blocks: the rest is not used",
           {"path", options.path}, {"bytes", info.size_bytes}, {"block_bytes", g.block_bytes});
  }
  g.deallocated_reads_zero = !info.is_block_device;
  return g;
}

struct Wanted {
  FileDevice::Options options;
  std::optional<Uuid> uuid;
  bool rescan = false;
};

Result<Wanted> parse(const Uri& uri) {
  Wanted wanted;
  UriParameters parameters(uri);
  HF_TRY(wanted.options.path, name_with_slash(uri));
  HF_TRY(const auto block, parameters.take_number("blk_size"));
  if (block && (!is_power_of_two(*block) || *block < 512 || *block > 4096))
    return Error(Errc::invalid_argument, "'" + uri.text + "': blk_size must be 512, 1024, 2048 or 4096");
  if (block) wanted.options.block_bytes = static_cast<std::uint32_t>(*block);
  HF_TRY(wanted.uuid, parameters.take_uuid());
  HF_TRY(wanted.rescan, parameters.take_flag("rescan"));
  HF_TRY(wanted.options.read_only, parameters.take_flag("read_only"));
  HF_CHECK(parameters.finish());
  return wanted;
}

Task<Result<std::unique_ptr<BlockDevice>>> make(const Uri& uri, const Cores& cores, const std::string& host) {
  HF_CO_TRY(Wanted wanted, parse(uri));
  BlockDevice::Identity id;
  id.name = wanted.options.path;
  id.uuid = wanted.uuid ? *wanted.uuid : Uuid::from_name(host + ":" + wanted.options.path);
  id.uri = uri.text;
  id.product_name = uri.scheme == "aio" ? "AIO disk" : "URING disk";
  co_return co_await FileDevice::open(cores, std::move(id), std::move(wanted.options));
}

Task<Status> rescan_existing(const Uri& uri, BlockDevice& existing) {
  HF_CO_TRY(const Wanted wanted, parse(uri));
  if (!wanted.rescan || dynamic_cast<FileDevice*>(&existing) == nullptr)
    co_return Error(Errc::already_exists, "device '" + existing.name() + "' exists already");
  if (wanted.uuid && *wanted.uuid != existing.identity().uuid)
    co_return Error(Errc::invalid_argument, "'" + uri.text + "': device '" + existing.name() + "' has UUID " +
                                                existing.identity().uuid.to_string());
  co_return co_await existing.rescan();
}

}  // namespace

Task<Result<std::unique_ptr<BlockDevice>>> FileDevice::open(const Cores& cores, Identity identity,
                                                            Options options) {
  auto opened = co_await cores.home().open_file(options.path, open_options(options, true));
  if (!opened.ok()) {
    if (opened.code() == Errc::read_only)
      co_return opened.error().with_context("add read_only to its URI to use it as it is");
    co_return opened.error();
  }
  std::unique_ptr<File> file = std::move(opened).value();
  const File::Info info = file->info();
  const auto geometry = geometry_of(info, options);
  if (!geometry.ok()) {
    co_await file->close();
    co_return geometry.error();
  }
  Capabilities can;
  can.read_only = options.read_only;
  can.write_zeroes = info.can_write_zeroes && !can.read_only;
  can.deallocate = info.can_discard && !can.read_only;
  can.compare = true;
  std::unique_ptr<BlockDevice> device = std::make_unique<FileDevice>(
      std::move(identity), cores, geometry.value(), can, std::move(options), std::move(file));
  co_return device;
}

FileDevice::FileDevice(Identity identity, const Cores& cores, const Geometry& geometry,
                       const Capabilities& can, Options options, std::unique_ptr<File> file)
    : LeafDevice(std::move(identity), cores, geometry, can),
      options_(std::move(options)),
      file_(std::move(file)) {}

Task<Result<std::unique_ptr<Channel>>> FileDevice::open_channel(Reactor& core) {
  HF_CO_TRY(std::unique_ptr<File> file,
            co_await core.open_file(options_.path, open_options(options_, false)));
  if (file->info().id != file_->info().id) {
    co_await file->close();
    co_return Error(Errc::not_found, "'" + options_.path + "' is another file or device than the one in use");
  }
  std::unique_ptr<Channel> channel = std::make_unique<FileChannel>(*this, core, std::move(file));
  co_return channel;
}

Task<Status> FileDevice::rescan() {
  HF_CO_CHECK(co_await file_->refresh());
  HF_CO_TRY(const Geometry g, geometry_of(file_->info(), options_));
  set_block_count(g.block_count);
  co_return Status();
}

Task<void> FileDevice::close() { co_await file_->close(); }

DeviceRegistry::Scheme file_scheme(const Cores& cores, std::string host) {
  DeviceRegistry::Scheme scheme;
  scheme.name = name_with_slash;
  scheme.create = [&cores, host](const Uri& uri) { return make(uri, cores, host); };
  scheme.refresh = rescan_existing;
  return scheme;
}

}  // namespace holdfast

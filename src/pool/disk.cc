#include "pool/disk.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/log.h"
#include "block/durable.h"
#include "block/leaf_device.h"
#include "pool/format.h"
#include "rt/cross_core.h"

namespace holdfast::pool {

std::string disk_uri(std::string_view path_or_uri) {
  if (!path_or_uri.starts_with('/')) return std::string(path_or_uri);
  std::string uri = "aio://";
  std::string_view rest = path_or_uri;
  while (!rest.empty()) {
    const std::size_t end = rest.find('/', 1);
    uri += '/' + percent_encode(rest.substr(1, end == std::string_view::npos ? end : end - 1));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end);
  }
  return uri;
}

namespace {

// What the device said. `busy` is what volumes say of themselves while they are held back, to be asked again: of a disk
// that is not ready it means something else.
Status judged(Status outcome) {
  if (outcome.code() != Errc::busy) return outcome;
  return Error(Errc::resource_exhausted, "a disk of the pool is not ready");
}

}  // namespace

DiskPort::DiskPort(Disk& disk, Reactor& core, std::unique_ptr<Channel> channel)
    : disk_(disk),
      core_(core),
      channel_(std::move(channel)),
      block_bytes_(disk.block_bytes()),
      flushed_(core) {}

// An operation, from its beginning to its end.
class DiskPort::UnderWay {
 public:
  explicit UnderWay(DiskPort& port) noexcept
      : port_(port), began_(port.core_.now()), before_(port.youngest_) {
    (before_ == nullptr ? port.oldest_ : before_->after_) = this;
    port.youngest_ = this;
    if (!port.armed()) [[unlikely]]
      port.core_.arm(port, began_ + port.disk_.stall_time_);
  }
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;
  ~UnderWay() {
    (before_ == nullptr ? port_.oldest_ : before_->after_) = after_;
    (after_ == nullptr ? port_.youngest_ : after_->before_) = before_;
  }
  Nanos began() const noexcept { return began_; }
  UnderWay* after() const noexcept { return after_; }
  bool counted() const noexcept { return counted_; }
  void count() noexcept { counted_ = true; }

 private:
  DiskPort& port_;
  const Nanos began_;
  UnderWay* before_;
  UnderWay* after_ = nullptr;
  bool counted_ = false;  // as a stall
};

void DiskPort::fire() noexcept {
  const Nanos now = core_.now();
  UnderWay* operation = oldest_;
  for (; operation != nullptr && now - operation->began() >= disk_.stall_time_;
       operation = operation->after()) {
    if (!operation->counted()) add_one(stalls_);
    operation->count();
  }
  if (oldest_ == nullptr) return;
  if (operation != oldest_) {
    saw_stall();
    tell_home();
  }
  core_.arm(*this, operation != nullptr ? operation->began() + disk_.stall_time_ : now + disk_.stall_time_);
}

void DiskPort::ended(const UnderWay& operation, const Status& outcome, Kind kind) noexcept {
  const bool slow = core_.now() - operation.began() > disk_.stall_time_;
  if (outcome.ok() && !slow) [[likely]]
    return;
  if (slow && !operation.counted()) {
    add_one(stalls_);
    saw_stall();
  }
  const Errc code = outcome.code();
  const bool refused = kind == Kind::other && code == Errc::not_supported;  // discards may be
  // Out of range: the disk has become smaller.
  const bool failed = code != Errc::ok && code != Errc::cancelled && !refused;
  if (failed) add_one(kind == Kind::read ? read_errors_ : write_errors_);
  if (failed || slow) tell_home();
}

void DiskPort::tell_home() noexcept {
  // One message at a time: the node is reused when the home core has run it.
  if (!told_.exchange(true, std::memory_order_acq_rel)) disk_.cores_.home().send(*this);
}

void DiskPort::run() noexcept {
  told_.store(false, std::memory_order_release);
  disk_.look();
}

Task<Status> DiskPort::read(std::uint64_t offset, IoVecs into) {
  UnderWay operation(*this);
  Status outcome = judged(co_await channel_->read(lba(offset), into));
  ended(operation, outcome, Kind::read);
  co_return outcome;
}

Task<Status> DiskPort::write(std::uint64_t offset, IoVecs from, Durable durable) {
  UnderWay operation(*this);
  Status outcome = judged(co_await channel_->write(lba(offset), from, durable));
  // A failed write may have changed something, which a flush has to cover as well.
  if (durable == Durable::no || !outcome.ok()) add_one(writes_);
  const bool may_lose = durable == Durable::yes && disk_.has_volatile_cache();
  if (may_lose && !outcome.ok() && !is_refusal(outcome.code())) disk_.lose_writes();
  ended(operation, outcome, Kind::write);
  co_return outcome;
}

Task<Status> DiskPort::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  if (!disk_.can_.write_zeroes) co_return co_await zero_by_writing(offset, length);
  UnderWay operation(*this);
  const BlockRange range{lba(offset), length / block_bytes_};
  Status outcome = judged(co_await channel_->write_zeroes(range, unmap, Durable::no));
  add_one(writes_);
  ended(operation, outcome, Kind::write);
  co_return outcome;
}

Task<Status> DiskPort::zero_by_writing(std::uint64_t offset, std::uint64_t length) {
  constexpr std::uint64_t piece = 64 * KiB;
  const ScratchBuffer zeroes(core_, std::min(length, piece));
  std::fill_n(zeroes.data(), zeroes.size(), std::byte{0});
  while (length > 0) {
    const IoVec vec{zeroes.data(), std::min(length, piece)};
    HF_CO_CHECK(co_await write(offset, IoVecs(&vec, 1), Durable::no));
    offset += vec.size;
    length -= vec.size;
  }
  co_return Status();
}

Task<Status> DiskPort::discard(std::uint64_t offset, std::uint64_t length) {
  if (!disk_.can_.deallocate) co_return Status();
  UnderWay operation(*this);
  const BlockRange range{lba(offset), length / block_bytes_};
  Status outcome = co_await channel_->deallocate(range);
  ended(operation, outcome, Kind::other);
  co_return outcome;
}

Task<Status> DiskPort::flush() {
  if (!disk_.has_volatile_cache()) co_return Status();
  const std::uint64_t wanted = disk_.writes();
  while (disk_.flushed_.load(std::memory_order_acquire) < wanted) {
    if (flushing_) {  // it may have begun too early for us; then the next one is ours, or somebody else's
      const bool covers = flushing_from_ >= wanted;
      co_await flushed_.wait();
      if (covers && disk_.flushed_.load(std::memory_order_acquire) < wanted) co_return Error(Errc::io_error);
      continue;
    }
    if (disk_.lost_writes()) co_return Error(Errc::io_error);
    HF_CO_CHECK(co_await flush_now());
  }
  co_return Status();
}

Task<Status> DiskPort::flush_now() {
  flushing_ = true;
  flushing_from_ = disk_.writes();
  const std::uint64_t from = flushing_from_;
  UnderWay operation(*this);
  Status outcome = judged(co_await channel_->flush());
  if (!outcome.ok()) disk_.lose_writes();
  ended(operation, outcome, Kind::write);
  flushing_ = false;
  if (outcome.ok() && disk_.lost_writes())
    outcome = Error(Errc::io_error);  // another core's failed meanwhile
  if (outcome.ok()) {
    std::uint64_t before = disk_.flushed_.load(std::memory_order_relaxed);
    while (before < from && !disk_.flushed_.compare_exchange_weak(before, from, std::memory_order_acq_rel)) {
    }
  }
  flushed_.wake_all();
  co_return outcome;
}

Disk::Disk(DeviceRegistry& registry, BlockDevice& device, std::string uri, std::string user,
           const DiskHealthLimits& health)
    : registry_(registry),
      cores_(registry.cores()),
      device_(&device),
      uri_(std::move(uri)),
      user_(std::move(user)),
      stall_time_(health.stall_time),
      can_(device.capabilities()),
      block_bytes_(device.geometry().block_bytes),
      health_(health) {}

Disk::~Disk() { HF_ASSERT(ports_.empty()); }

Task<Result<std::unique_ptr<Disk>>> Disk::open(DeviceRegistry& registry, std::string uri, std::string user,
                                               DiskHealthLimits health) {
  const std::string text = disk_uri(uri);
  const std::string what = user + ": disk '" + uri + "'";
  BlockDevice* device = registry.find(text);
  bool made = false;
  if (device == nullptr) {
    auto created = co_await registry.create(text);
    if (!created.ok()) co_return created.error().with_context(what);
    device = created.value();
    made = true;
  }
  const std::string name = device->name();
  std::unique_ptr<Disk> disk(new Disk(registry, *device, uri, std::move(user), health));
  disk->made_ = made;
  auto claim = registry.claim(*device, disk->user_);
  Status outcome = claim.ok() ? Status() : Status(claim.error());
  if (outcome.ok()) {
    disk->claim_ = std::move(claim).value();
    device->subscribe(*disk);
    outcome = co_await disk->open_ports();
  }
  if (outcome.ok() && disk->size_bytes() < wire::label_area_bytes + cluster_bytes_min) {
    outcome = Error(Errc::invalid_argument, "it has " + format_size(disk->size_bytes()) +
                                                ", which is too small for a disk of a pool");
  }
  if (!outcome.ok()) {
    const Error error = outcome.error().with_context(what);
    co_await disk->close();
    co_return error;
  }
  co_return disk;
}

Task<Status> Disk::open_ports() {
  for (Reactor* core : cores_) {
    auto open_one = [this, core]() -> Task<Status> {
      HF_CO_TRY(std::unique_ptr<Channel> channel, co_await device_->open_channel(*core));
      ports_.push_back(std::make_unique<DiskPort>(*this, *core, std::move(channel)));
      co_return Status();
    };
    HF_CO_CHECK(co_await run_on(cores_.home(), *core, open_one));
  }
  // Who had it open before may have ended without a flush: the first one here covers that, too.
  DiskPort::add_one(ports_.front()->writes_);
  co_return Status();
}

Task<void> Disk::close_ports() {
  for (auto& port : ports_) {
    DiskPort* p = port.get();
    auto close_one = [p]() -> Task<void> {
      co_await p->channel_->close();
      p->core_.disarm(*p);
    };
    co_await run_on(cores_.home(), p->core_, close_one);
    // What the port told the home core arrived before the answer of this call; on the home core itself it may
    // still be on its way.
    while (p->told_.load(std::memory_order_acquire)) co_await cores_.home().yield();
  }
  ports_.clear();
}

Task<void> Disk::close() {
  observer_ = nullptr;
  co_await close_ports();
  cores_.home().disarm(*this);
  claim_.release();
  if (device_ == nullptr) co_return;
  BlockDevice* device = std::exchange(device_, nullptr);
  device->unsubscribe(*this);
  if (!made_) co_return;
  const Status gone = co_await registry_.destroy(device->name());
  if (!gone.ok()) HF_LOG(warn, "pool", "cannot let go of a disk", {"disk", uri_}, {"error", gone.error()});
}

void Disk::become(std::uint16_t index, const Uuid& uuid, std::uint64_t data_offset) noexcept {
  index_ = index;
  uuid_ = uuid;
  data_offset_ = data_offset;
}

std::uint64_t Disk::writes() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& port : ports_) sum += port->writes_.load(std::memory_order_acquire);
  return sum;
}

void Disk::on_device_event(BlockDevice&, DeviceEvent event) noexcept {
  switch (event) {
    case DeviceEvent::resized:
      break;
    case DeviceEvent::removed:
      removed_ = true;
      break;
    case DeviceEvent::failed:
      failed_ = true;
      // What is behind it may begin anew, without what its cache had, before it can be reached again.
      if (has_volatile_cache() && flushed_.load(std::memory_order_acquire) < writes()) lose_writes();
      break;
    case DeviceEvent::recovered:
      failed_ = false;
      break;
    case DeviceEvent::reservations_changed:
      return;
  }
  HF_LOG(info, "pool", "a disk changed", {"user", user_}, {"disk", uri_}, {"status", status_reason()});
  changed();
}

Disk::Counts Disk::counts() const noexcept {
  Counts sum;
  for (const auto& port : ports_) {
    sum.read_errors += port->read_errors_.load(std::memory_order_acquire);
    sum.write_errors += port->write_errors_.load(std::memory_order_acquire);
    sum.stalls += port->stalls_.load(std::memory_order_acquire);
    sum.stalled_at = std::max(sum.stalled_at, port->stalled_at_.load(std::memory_order_acquire));
  }
  return sum;
}

void Disk::look() noexcept {
  const Nanos now = cores_.home().now();
  const Counts before = std::exchange(looked_, counts());
  const std::uint64_t errors =
      looked_.read_errors + looked_.write_errors - before.read_errors - before.write_errors;
  if (errors > 0) health_.failed(errors, now);
  if (looked_.stalled_at > before.stalled_at) health_.stalled(looked_.stalled_at);
  fire();
}

void Disk::fire() noexcept {
  health_.refresh(cores_.home().now());
  cores_.home().disarm(*this);
  if (const Nanos next = health_.refresh_at(); next != no_deadline) cores_.home().arm(*this, next);
  changed();
}

void Disk::reset_health() noexcept {
  looked_ = reset_ = counts();
  health_.reset();
  fire();
}

PoolStatus Disk::status() const noexcept {
  if (removed_ || failed_) return PoolStatus::faulted;
  return !health_.fit() || can_.read_only ? PoolStatus::degraded : PoolStatus::online;
}

std::string Disk::status_reason() const {
  const std::string who = "disk '" + uri_ + "' ";
  if (removed_) return who + "is gone";
  if (failed_) return who + "cannot be reached";
  if (can_.read_only) return who + "is read-only";
  const std::string reason = health_.reason();
  return reason.empty() ? "" : who + reason;
}

DiskView Disk::view() const {
  DiskView v;
  v.uuid = uuid_;
  v.uri = uri_;
  v.status = status();
  v.status_reason = status_reason();
  if (device_ != nullptr) {
    v.device = device_->name();
    v.size_bytes = size_bytes();
  }
  const Counts now = counts();
  v.read_errors = now.read_errors - reset_.read_errors;
  v.write_errors = now.write_errors - reset_.write_errors;
  v.stalls = now.stalls - reset_.stalls;
  return v;
}

Error Disk::explain(const Error& error, std::string_view what) const {
  return error.with_context(user_ + ": disk '" + uri_ + "': " + std::string(what));
}

}  // namespace holdfast::pool

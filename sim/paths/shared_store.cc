#include "sim/paths/shared_store.h"

#include <algorithm>
#include <cstring>

namespace holdfast::sim {
namespace {

class SharedChannel final : public Channel {
 public:
  SharedChannel(Reactor& core, SharedStore& store, const PortBehavior& behavior, const Geometry& geometry)
      : core_(core), store_(store), behavior_(behavior), geometry_(geometry) {}

  Task<Status> read(Lba first, IoVecs into) override { return move(first, into, true); }
  Task<Status> write(Lba first, IoVecs from, Durable) override { return move(first, from, false); }
  Task<Status> write_zeroes(BlockRange range, Unmap, Durable) override {
    HF_CO_CHECK(check_range(geometry_, range));
    HF_CO_CHECK(co_await begin());
    std::fill_n(store_.at(to_blocks(range.first)), range.count * SharedStore::block_bytes, std::byte{0});
    co_await wait();
    co_return Status();
  }
  Task<Status> deallocate(BlockRange) override { co_return Error(Errc::not_supported); }
  Task<Status> flush() override { co_return Status(); }
  Task<Status> compare(Lba, IoVecs) override { co_return Error(Errc::not_supported); }
  Task<void> close() override { co_return; }

 private:
  Task<void> wait() {
    const auto most = static_cast<std::uint64_t>(behavior_.latency_max.count());
    co_await core_.sleep(Nanos(core_.random().below(most + 1)));
  }
  Task<Status> begin() {
    co_await wait();
    if (core_.random().chance(behavior_.path_error_per_mille, 1000)) co_return Error(Errc::not_connected);
    while (core_.now() < behavior_.stalled_until) co_await core_.sleep(behavior_.stalled_until - core_.now());
    co_return Status();
  }
  Task<Status> move(Lba first, IoVecs vectors, bool read) {
    const BlockRange range{first, total_bytes(vectors) / SharedStore::block_bytes};
    HF_CO_CHECK(check_range(geometry_, range));
    HF_CO_CHECK(co_await begin());
    std::byte* place = store_.at(to_blocks(first));
    for (const IoVec& v : vectors) {
      std::memcpy(read ? v.data : place, read ? place : v.data, v.size);
      place += v.size;
    }
    co_await wait();
    co_return Status();
  }

  Reactor& core_;
  SharedStore& store_;
  const PortBehavior& behavior_;
  const Geometry& geometry_;
};

BlockDevice::Identity identity_of(const Uuid& uuid) {
  BlockDevice::Identity id;
  id.name = "shared";
  id.uuid = uuid;
  id.product_name = "Shared store";
  return id;
}

}  // namespace

SharedDevice::SharedDevice(SharedStore& store, const PortBehavior& behavior, Uuid uuid)
    : BlockDevice(identity_of(uuid)), store_(store), behavior_(behavior) {
  geometry_.block_bytes = SharedStore::block_bytes;
  geometry_.block_count = store.blocks();
  geometry_.deallocated_reads_zero = true;
  capabilities_.write_zeroes = true;
  capabilities_.volatile_cache = false;
}

Task<Result<std::unique_ptr<Channel>>> SharedDevice::open_channel(Reactor& core) {
  std::unique_ptr<Channel> channel = std::make_unique<SharedChannel>(core, store_, behavior_, geometry_);
  co_return channel;
}

}  // namespace holdfast::sim

#include "block/inject_device.h"

#include <algorithm>
#include <set>
#include <utility>

#include "block/leaf_device.h"
#include "rt/cross_core.h"

namespace holdfast {

// "inject://malloc%3A%2F%2F%2Fm0%3Fsize_mb%3D8?..." or "inject://m0?..." or "inject:////dev/sdb?...".
Result<std::string> inject_target(const Uri& uri) {
  HF_TRY(std::string target, percent_decode(uri.authority));
  target += uri.path;
  if (uri.authority.empty() && !target.empty()) target.erase(0, 1);
  if (target.empty())
    return Error(Errc::invalid_argument,
                 "'" + uri.text + "': expected inject://DEVICE?..., the device is missing");
  return target;
}

namespace {

class InjectChannel final : public Channel {
 public:
  InjectChannel(InjectDevice& device, Reactor& core, std::unique_ptr<Channel> below,
                std::uint32_t block_bytes)
      : core_(core),
        active_(device.active(core.core())),
        below_(std::move(below)),
        block_bytes_(block_bytes) {}

  Task<Status> read(Lba first, IoVecs into) override {
    const BlockRange range = range_of(first, into);
    HF_CO_CHECK(co_await pass(Injection::Stage::submit, Access::read, range, IoVecs()));
    HF_CO_CHECK(co_await below_->read(first, into));
    co_return co_await pass(Injection::Stage::completion, Access::read, range, into);
  }

  Task<Status> write(Lba first, IoVecs from, Durable durable) override {
    const BlockRange range = range_of(first, from);
    bool corrupt = false;
    HF_CO_CHECK(co_await strike(Injection::Stage::submit, Access::write, range, corrupt));
    if (corrupt) {
      HF_CO_CHECK(co_await write_corrupted(first, from, durable));
    } else {
      HF_CO_CHECK(co_await below_->write(first, from, durable));
    }
    co_return co_await pass(Injection::Stage::completion, Access::write, range, IoVecs());
  }

  Task<Status> write_zeroes(BlockRange range, Unmap unmap, Durable durable) override {
    HF_CO_CHECK(co_await pass(Injection::Stage::submit, Access::write, range, IoVecs()));
    HF_CO_CHECK(co_await below_->write_zeroes(range, unmap, durable));
    co_return co_await pass(Injection::Stage::completion, Access::write, range, IoVecs());
  }

  Task<Status> deallocate(BlockRange range) override {
    HF_CO_CHECK(co_await pass(Injection::Stage::submit, Access::write, range, IoVecs()));
    HF_CO_CHECK(co_await below_->deallocate(range));
    co_return co_await pass(Injection::Stage::completion, Access::write, range, IoVecs());
  }

  Task<Status> compare(Lba first, IoVecs with) override {
    co_return co_await compare_by_reading(*this, core_, block_bytes_, first, with);
  }
  Task<Status> flush() override {
    if (stop_.stop_requested()) co_return Error(Errc::cancelled);
    co_return co_await below_->flush();
  }
  void cancel_all() noexcept override {
    stop_.request_stop();
    below_->cancel_all();
  }
  Task<void> close() override { co_await below_->close(); }

 private:
  enum class Access : bool { read, write };

  BlockRange range_of(Lba first, IoVecs vectors) const noexcept {
    return BlockRange{first, total_bytes(vectors) / block_bytes_};
  }

  // Plays what applies at this stage; sets `corrupt` when the data is to be changed.
  Task<Status> strike(Injection::Stage stage, Access access, BlockRange range, bool& corrupt) {
    for (std::size_t i = 0; i < active_.size(); ++i) {  // the list may change while we wait
      if (stop_.stop_requested()) co_return Error(Errc::cancelled);
      if (!active_[i].strikes(stage, access == Access::write, range, core_.now())) continue;
      const Injection what = active_[i].what();
      if (what.delay > Nanos{0}) co_await core_.sleep(what.delay, stop_.token());
      if (what.method == Injection::Method::data) corrupt = true;
      if (what.method == Injection::Method::status) co_return Error(what.status).as_injected();
    }
    if (stop_.stop_requested()) co_return Error(Errc::cancelled);
    co_return Status();
  }

  // The same, where only data that was read can be changed.
  Task<Status> pass(Injection::Stage stage, Access access, BlockRange range, IoVecs data) {
    bool corrupt = false;
    HF_CO_CHECK(co_await strike(stage, access, range, corrupt));
    if (corrupt) flip_bits(data);
    co_return Status();
  }

  // Some bits of every block, as the reactor's generator says: a seed replays.
  void flip_bits(IoVecs data) noexcept {
    for (const IoVec& v : data) {
      for (std::size_t at = 0; at < v.size; at += block_bytes_) {
        const std::size_t victim =
            at + core_.random().below(std::min<std::size_t>(block_bytes_, v.size - at));
        v.data[victim] ^= static_cast<std::byte>(1 + core_.random().below(255));
      }
    }
  }

  // The caller's buffers stay as they are.
  Task<Status> write_corrupted(Lba first, IoVecs from, Durable durable) {
    const ScratchBuffer copy(core_, std::max<std::size_t>(1, total_bytes(from)));
    copy_from_vectors(from, 0, copy.data(), total_bytes(from));
    const IoVec changed{copy.data(), total_bytes(from)};
    flip_bits(IoVecs(&changed, 1));
    co_return co_await below_->write(first, IoVecs(&changed, 1), durable);
  }

  Reactor& core_;
  std::vector<ActiveInjection>& active_;
  std::unique_ptr<Channel> below_;
  const std::uint32_t block_bytes_;
  StopSource stop_;
};

Result<std::string> inject_name(const Uri& uri) {
  HF_TRY(const std::string target, inject_target(uri));
  if (target.find("://") == std::string::npos) return target + "-inject";
  HF_TRY(const Uri below, Uri::parse(target));
  if (below.path.size() < 2)
    return Error(Errc::invalid_argument, "'" + uri.text + "': the URI inside names no device");
  return below.path.substr(1) + "-inject";
}

struct Wanted {
  Injection injection;
  std::optional<Uuid> uuid;
  bool has_injection = false;
};

Result<Wanted> parse(const Uri& uri) {
  Wanted wanted;
  UriParameters parameters(uri);
  HF_TRY(wanted.uuid, parameters.take_uuid());
  HF_TRY(wanted.injection, Injection::parse(uri, parameters));
  HF_CHECK(parameters.finish());
  wanted.has_injection = uri.query.size() > (wanted.uuid ? 1u : 0u);
  return wanted;
}

Task<Result<std::unique_ptr<BlockDevice>>> make(const Uri& uri, DeviceRegistry& registry) {
  HF_CO_TRY(const Wanted wanted, parse(uri));
  HF_CO_TRY(const std::string target, inject_target(uri));
  HF_CO_TRY(const std::string name, inject_name(uri));
  BlockDevice* below = registry.find(target);
  const bool made_here = below == nullptr;
  if (made_here) {
    if (target.find("://") == std::string::npos)
      co_return Error(Errc::not_found, "'" + uri.text + "': there is no device '" + target + "'");
    HF_CO_TRY(below, co_await registry.create(target));
  }
  HF_CO_TRY(DeviceClaim claim, registry.claim(*below, "inject device '" + name + "'"));
  BlockDevice::Identity id;
  id.name = name;
  id.uuid = wanted.uuid ? *wanted.uuid : below->identity().uuid;
  id.uri = uri.text;
  id.product_name = "Fault injection disk";
  auto device = std::make_unique<InjectDevice>(std::move(id), registry, std::move(claim), made_here);
  if (wanted.has_injection) co_await device->add(wanted.injection, uri.text);
  std::unique_ptr<BlockDevice> made = std::move(device);
  co_return made;
}

}  // namespace

InjectDevice::InjectDevice(Identity identity, DeviceRegistry& registry, DeviceClaim below, bool destroy_below)
    : BlockDevice(std::move(identity)),
      registry_(registry),
      below_(std::move(below)),
      destroy_below_(destroy_below),
      capabilities_(below_.device().capabilities()),
      active_(registry.cores().count()) {
  capabilities_.compare = true;
  below_.device().subscribe(*this);
}

const Capabilities& InjectDevice::capabilities() const noexcept { return capabilities_; }

Task<Result<std::unique_ptr<Channel>>> InjectDevice::open_channel(Reactor& core) {
  HF_CO_TRY(std::unique_ptr<Channel> below, co_await below_.device().open_channel(core));
  std::unique_ptr<Channel> channel =
      std::make_unique<InjectChannel>(*this, core, std::move(below), geometry().block_bytes);
  co_return channel;
}

Task<void> InjectDevice::close() {
  const std::string below = below_.device().name();
  below_.device().unsubscribe(*this);
  below_.release();
  if (destroy_below_) {
    const Status destroyed = co_await registry_.destroy(below);
    destroyed.ignore("it may be claimed by somebody else already, who keeps it then");
  }
}

Task<std::uint64_t> InjectDevice::add(Injection injection, std::string uri) {
  const ActiveInjection active(++last_id_, injection);
  Listed& listed = listed_.emplace_back();
  listed.id = active.id();
  listed.uri = std::move(uri);
  auto add_here = [&](Reactor& core) -> Task<void> {
    active_[core.core()].push_back(active);
    co_return;
  };
  co_await run_on_all(registry_.cores().home(), registry_.cores(), add_here);
  co_return active.id();
}

Task<Status> InjectDevice::remove(std::uint64_t id) {
  std::vector<char> found(registry_.cores().count(), 0);
  auto remove_here = [&](Reactor& core) -> Task<void> {
    found[core.core()] =
        std::erase_if(active_[core.core()], [id](const auto& a) { return a.id() == id; }) > 0;
    co_return;
  };
  std::erase_if(listed_, [id](const Listed& l) { return l.id == id; });
  co_await run_on_all(registry_.cores().home(), registry_.cores(), remove_here);
  if (found[0] == 0) co_return Error(Errc::not_found, "there is no injection " + std::to_string(id));
  co_return Status();
}

Task<std::vector<InjectDevice::Listed>> InjectDevice::list() {
  std::vector<std::set<std::uint64_t>> active(registry_.cores().count());
  auto look = [&](Reactor& core) -> Task<void> {
    for (const ActiveInjection& a : active_[core.core()]) {
      if (a.is_active(core.now())) active[core.core()].insert(a.id());
    }
    co_return;
  };
  co_await run_on_all(registry_.cores().home(), registry_.cores(), look);
  std::vector<Listed> all = listed_;
  for (Listed& l : all) {
    l.active =
        std::any_of(active.begin(), active.end(), [&l](const auto& ids) { return ids.contains(l.id); });
  }
  co_return all;
}

Result<InjectionUri> parse_injection(const std::string& text) {
  HF_TRY(const Uri uri, Uri::parse(text));
  if (uri.scheme != "inject")
    return Error(Errc::invalid_argument, "'" + text + "': expected inject://DEVICE?...");
  InjectionUri parsed;
  HF_TRY(parsed.target, inject_target(uri));
  HF_TRY(parsed.inject_device, inject_name(uri));
  HF_TRY(const Wanted wanted, parse(uri));
  parsed.injection = wanted.injection;
  return parsed;
}

DeviceRegistry::Scheme inject_scheme(DeviceRegistry& registry) {
  DeviceRegistry::Scheme scheme;
  scheme.name = inject_name;
  scheme.create = [&registry](const Uri& uri) { return make(uri, registry); };
  return scheme;
}

}  // namespace holdfast
